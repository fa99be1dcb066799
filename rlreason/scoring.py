"""Rewards in killable worker processes: a score for every completion, whatever a completion does.

``WorkerScorer`` is the driver's end. It hands completions to ``scoring_supervisor`` while the
engine still samples, and turns the answers into scores. Of what goes wrong,

- the completion's doing (over_limit, timeout, crash) scores the reward's floor;
- an exception in the reward scores the floor too, is logged with the problem's name, and stops the
  run when a step has more than ``scoring.max_infra_frac`` of them and of ``infra`` together;
- ``DataError`` from a reward (our data is wrong) or a score outside its bounds stops the run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from rlreason.config import PluginConfig, ScoringSection
from rlreason.errors import DataError, PluginError, TrainingStopped
from rlreason.plugins import build_plugin
from rlreason.scoring_messages import Answer, Collect, Collected, RewardSpec, Setup, Submit, Task
from rlreason.scoring_worker import check_bounds
from rlreason.types import Problem, RolloutGroup, Score

_log = logging.getLogger(__name__)
_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_CLOSE_LIMIT_S = 10.0

Scored = tuple[RolloutGroup, tuple[Score, ...]]


class WorkerScorer:
    """Scores groups in worker processes; keeps ``protocols.Scorer``.

    Args:
        rewards: Pool name -> its reward. Pools with the same reward and options share one object.
        limits: Workers, time and memory of a completion, and how many faults stop the run.
        seed: Seeds ``random`` in the worker, afresh for each completion.
    """

    def __init__(
        self, rewards: Mapping[str, PluginConfig], limits: ScoringSection, *, seed: int
    ) -> None:
        self._limits = limits
        self._seed = seed
        self._specs: list[RewardSpec] = []
        self._index: dict[str, int] = {}
        places: dict[str, int] = {}
        for pool, plugin in rewards.items():
            place = places.setdefault(repr((plugin.use, plugin.options)), len(self._specs))
            if place == len(self._specs):
                self._specs.append((plugin.use, plugin.options, f"reward of pool {pool}"))
            self._index[pool] = place
        self._bounds: list[tuple[float, float]] = []
        self._needs_answer: list[bool] = []
        self._supervisor: _Supervisor | None = None

    def check(self) -> None:
        """Build every reward once in this process, before anything heavy starts.

        Raises:
            PluginError: If one does not load, refuses its options or declares no sane bounds.
        """
        if self._bounds:
            return
        rewards = [build_plugin(path, options, where=where) for path, options, where in self._specs]
        self._needs_answer = [bool(getattr(reward, "needs_answer", False)) for reward in rewards]
        self._bounds = [
            check_bounds(reward, spec) for reward, spec in zip(rewards, self._specs, strict=True)
        ]

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """Pool -> lowest and highest value of its reward."""
        self.check()
        return {pool: self._bounds[place] for pool, place in self._index.items()}

    @property
    def needs_answer(self) -> Mapping[str, bool]:
        """Pool -> whether its reward declares ``needs_answer = True``."""
        self.check()
        return {pool: self._needs_answer[place] for pool, place in self._index.items()}

    def start(self) -> None:
        """Start the processes without waiting for them; ``score`` does it when nobody has."""
        if self._supervisor is None:
            self.check()
            setup = Setup(
                specs=self._specs,
                workers=self._limits.workers,
                time_limit_s=self._limits.time_limit_s,
                memory_limit_bytes=int(self._limits.memory_limit_gib * 2**30),
            )
            self._supervisor = _Supervisor(setup)

    def score(self, groups: Iterable[RolloutGroup]) -> list[Scored]:
        """Every group with its scores, sorted by slot. Scores while ``groups`` is still iterated.

        Raises:
            DataError: A reward says that a problem of ours is wrong.
            PluginError: A reward cannot be built in a worker, or its score broke its contract.
            TrainingStopped: Too large a share of the scores are faults of the scorer.
        """
        arrived: list[RolloutGroup] = []
        tasks: list[bytes] = []
        try:
            self.start()
            for group in groups:
                arrived.append(group)
                for task in self._tasks(group):
                    self._submit(len(tasks), task)
                    tasks.append(task)
            answers = self._collect(tasks)
        except BaseException:
            self.close()  # what is under way must not be taken for the next step's
            raise
        problems = [group.problem for group in arrived for _ in group.rollouts]
        self._judge_faults(problems, answers)
        floors = [self._bounds[self._index[problem.pool]][0] for problem in problems]
        scores = [_score(answer, floor) for answer, floor in zip(answers, floors, strict=True)]
        return sorted(_regroup(arrived, scores), key=lambda scored: scored[0].slot)

    def close(self) -> None:
        """End every process that was started; ``score`` would start new ones."""
        if self._supervisor is not None:
            self._supervisor.close()
            self._supervisor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tasks(self, group: RolloutGroup) -> list[bytes]:
        problem = group.problem
        if problem.pool not in self._index:
            raise PluginError(f"problem {problem.key}: no reward for pool {problem.pool!r}")
        place = self._index[problem.pool]
        tasks: list[Task] = []
        for sample, rollout in enumerate(group.rollouts):
            name = (self._seed, problem.key, group.slot, sample, rollout.policy_version)
            digest = hashlib.blake2b(repr(name).encode(), digest_size=8).digest()
            tasks.append((place, int.from_bytes(digest), problem, rollout.completion))
        return [pickle.dumps(task) for task in tasks]

    def _submit(self, index: int, task: bytes) -> None:
        assert self._supervisor is not None, "score starts it"
        self._supervisor.submit(index, task)

    def _collect(self, tasks: Sequence[bytes]) -> list[Answer]:
        assert self._supervisor is not None, "score starts it"
        answers = self._supervisor.collect(len(tasks))
        if answers is None:
            _log.warning("scoring: the supervisor died; scoring this step again with another")
            self.close()
            self.start()
            for index, task in enumerate(tasks):
                self._submit(index, task)
            answers = self._supervisor.collect(len(tasks))
        if answers is None:
            self.close()
            return [Answer(outcome="infra", message="the scoring supervisor died") for _ in tasks]
        return answers

    def _judge_faults(self, problems: Sequence[Problem], answers: Sequence[Answer]) -> None:
        faults: list[str] = []
        for problem, answer in zip(problems, answers, strict=True):
            path = self._specs[self._index[problem.pool]][0]
            message = answer.get("message", "no reason given")
            match answer.get("fault"):
                case "data":
                    raise DataError(f"problem {problem.key}: reward {path} says: {message}")
                case "contract":
                    raise PluginError(f"reward {path} on problem {problem.key}: {message}")
            if answer.get("fault") == "raised" or answer["outcome"] == "infra":
                faults.append(f"reward {path} failed on problem {problem.key}: {message}")
        counts = Counter(answer["outcome"] for answer in answers)
        if counts["timeout"] or counts["crash"] or faults:
            example = f"; {faults[0]}" if faults else ""
            _log.warning("scoring: outcomes %s%s", dict(counts), example)
        if len(faults) > self._limits.max_infra_frac * len(answers):
            raise TrainingStopped(
                f"{len(faults)} of this step's {len(answers)} scores are faults of the scorer, a "
                f"larger share than scoring.max_infra_frac = {self._limits.max_infra_frac}; "
                f"the first: {faults[0]}"
            )


class _Supervisor:
    """The driver's handle of the supervising process."""

    def __init__(self, setup: Setup) -> None:
        ours, theirs = socket.socketpair()
        program = "from rlreason.scoring_supervisor import main; main()"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=_environment(),
                start_new_session=True,  # Ctrl-C is the driver's to handle
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._send(setup)

    def submit(self, index: int, task: bytes) -> None:
        self._send(Submit(index=index, task=task))

    def collect(self, count: int) -> list[Answer] | None:
        """The answers in order, or None if the supervisor died."""
        self._send(Collect(count=count))
        try:
            reply: Collected = self._connection.recv()
        except (EOFError, OSError):
            return None
        if reply.failure is not None:
            raise PluginError(f"a reward worker cannot start: {reply.failure}")
        return [json.loads(answer) for answer in reply.answers]

    def close(self) -> None:
        """The end of the pipe tells the supervisor to end the workers and leave."""
        self._connection.close()
        try:
            self._process.wait(timeout=_CLOSE_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Setup | Submit | Collect) -> None:
        try:
            self._connection.send(message)
        except OSError:
            return  # it died; collect() says so, and everything is handed to another


def _environment() -> dict[str, str]:
    """What a worker may know: no secrets; this process's import path; one thread; fixed hashes."""
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return kept | {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}


def _score(answer: Answer, floor: float) -> Score:
    return Score(
        value=answer.get("value", floor),
        parts=answer.get("parts", {}),
        outcome=answer["outcome"],
        seconds=answer.get("seconds", 0.0),
    )


def _regroup(groups: Sequence[RolloutGroup], scores: Sequence[Score]) -> list[Scored]:
    remaining = iter(scores)
    return [(group, tuple(next(remaining) for _ in group.rollouts)) for group in groups]
