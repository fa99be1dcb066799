"""Engines and ranks without a model, for real Ray processes; they die, hang and wait when told."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlreason.config import DeadlineSection
from rlreason.errors import PluginError
from rlreason.types import Problem, Rollout, RolloutGroup

DEADLINES = DeadlineSection(start_s=100, sample_s=60, learn_s=60, publish_s=60)
IMPATIENT = DEADLINES.model_copy(update={"sample_s": 4, "learn_s": 5})
"""Where somebody hangs; on busy cores the healthy would be too slow for it."""


def problem(name: str, **metadata: Any) -> Problem:
    return Problem(id=name, pool="fake", prompt=name, answer="", metadata=metadata)


def processes(groups: Sequence[RolloutGroup]) -> dict[str, tuple[int, int]]:
    """Problem -> process that answered it, and that one's child."""
    answers = {group.problem.id: group.rollouts[0].completion.split() for group in groups}
    return {name: (int(own), int(child)) for name, (own, child) in answers.items()}


def await_death(*gone: int) -> None:
    from process_tree import is_alive  # in the test; the fakes' own processes have no such module

    deadline = time.monotonic() + 10
    while any(map(is_alive, gone)):
        assert time.monotonic() < deadline, gone
        time.sleep(0.02)


class FakeEngine:
    """Answers one request a call with its process, its version and its child's process."""

    def __init__(self, folder: Path) -> None:
        self.policy_version = 0
        self._folder, self._waiting = folder, []
        self._child = subprocess.Popen(["sleep", "600"]).pid
        self._is_awake(True)

    def _is_awake(self, awake: bool) -> None:
        """Leaves a file for the test to see."""
        file = self._folder / f"awake {os.getpid()}"
        file.touch() if awake else file.unlink(missing_ok=True)

    @property
    def is_busy(self) -> bool:
        return bool(self._waiting)

    def begin(self) -> None:
        self._is_awake(True)
        self._waiting.clear()

    def sleep(self) -> None:
        self._is_awake(False)

    def add(self, tickets: Sequence[tuple[int, Any]]) -> None:
        self._waiting += tickets

    def advance(self) -> list[tuple[int, RolloutGroup]]:
        ticket, request = self._waiting.pop(0)
        self._obey(request.problem)
        rollout = Rollout(
            prompt_ids=(1,),
            completion_ids=(2,),
            completion=f"{os.getpid()} {self._child}",
            rollout_logprobs=(-0.5,),
            finish_reason="stop",
            policy_version=self.policy_version,
        )
        rollouts = (rollout,) * request.samples
        return [
            (ticket, RolloutGroup(problem=request.problem, slot=request.slot, rollouts=rollouts))
        ]

    def _obey(self, asked: Problem) -> None:
        told = asked.metadata
        with (self._folder / "asked").open("a") as file:
            file.write(f"{asked.id}\n")
        while "wait_for" in told and not (self._folder / told["wait_for"]).exists():
            time.sleep(0.01)
        if "leave" in told:
            (self._folder / told["leave"]).touch()
        seen = (self._folder / "asked").read_text().splitlines().count(asked.id)
        if seen <= told.get("deaths", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if seen <= told.get("hangs", 0):
            os.kill(os.getpid(), signal.SIGSTOP)

    def join_transfer(self, info: dict[str, int]) -> None:
        self._place = info["rank_offset"]

    def start_transfer(self) -> None:
        self._receives = True

    def receive(self, info: dict[str, bool]) -> None:
        assert self._receives
        if info["deadly"] and self._place == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def finish_transfer(self, version: int) -> None:
        load(self, version)


def load(engine: FakeEngine, version: int, *buckets: Any) -> int:
    """A publication of nothing but its version; version 13 is lost on the way."""
    if version != 13:
        engine.policy_version = version
    return engine.policy_version


class SendingRank:
    """Keeps ``WeightSender``'s interface: the handshake of a transfer, and no weights."""

    def __init__(self, rank: FakeRank, engines: Any) -> None:
        self._sends, self._engines = rank.rank == 0, engines
        if self._sends:
            engines.init_weight_transfer_engine({"rank_offset": 1})

    def send(self, version: int) -> None:
        self._engines.version = version
        if self._sends:
            self._engines.start_weight_update()
            self._engines.update_weights({"deadly": version == 14})
            self._engines.finish_weight_update()


class FakeRank:
    """A rank whose update is a collective that hangs where another rank is lost."""

    def __init__(self, rank: int, ranks: int, meeting: str, told: dict[str, int]) -> None:
        self.rank, self.meeting, self._told = rank, meeting, told

    def update(self, batches: Any, *, step: int, coefficients: Any) -> int:
        if step == self._told.get("dies_at"):
            if self.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)
        if step == self._told.get("hangs_at") and self.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        if step == self._told.get("raises_at"):
            raise PluginError(f"rank {self.rank} raises")
        return os.getpid()

    def reference_logprobs(self, sequences: Sequence[float]) -> list[tuple[float, ...]]:
        return [(float(sequence), float(self.rank)) for sequence in sequences]


def linger(rank: FakeRank, folder: Path) -> None:
    """Work until the test has seen enough."""
    while not (folder / "enough").exists():
        time.sleep(0.01)


def make_engine(folder: Path) -> FakeEngine:
    return FakeEngine(folder)


def make_rank(rank: int, ranks: int, meeting: str, told: dict[str, int]) -> FakeRank:
    return FakeRank(rank, ranks, meeting, told)


def pack(learner: FakeRank) -> Iterator[Any]:
    """Two buckets, from rank 0 alone."""
    if learner.rank == 0:
        yield b"one"
        yield b"two"
