"""Runs that scripts/cluster_check starts, watches, hurts and compares."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from process_tree import descendants, is_alive, listeners

ROOT = Path(__file__).resolve().parent.parent
STEPS = 6
NAME = "run"
SMALL = (
    f"run.steps={STEPS}",
    "run.checkpoint_every=3",
    "rollout.problems_per_step=8",
    "evaluation.every=0",
)
TWO_OF_EACH = ("cluster.backend=ray", "cluster.learners=2", "cluster.engines=2")
POLL_S = 0.05
LIMIT_S = 1200.0


class CheckError(Exception):
    """A check did not hold."""


class RunFiles(NamedTuple):
    """A run on disk."""

    folder: Path

    @property
    def run(self) -> Path:
        """Its own folder."""
        return self.folder / NAME

    def rows(self) -> list[dict[str, Any]]:
        """Its metrics so far, a step each."""
        path = self.run / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def evaluations(self) -> list[dict[str, Any]]:
        """Its evaluations."""
        return [json.loads(x) for x in (self.run / "evaluations.jsonl").read_text().splitlines()]

    def checkpoint(self, version: int) -> Path:
        """Of a policy version."""
        return self.run / "checkpoints" / f"{version:06d}"

    def digests(self, version: int = STEPS) -> Any:
        """SHA-256 of parameters and optimizer."""
        return json.loads((self.checkpoint(version) / "state.json").read_text())["digests"]

    def log(self) -> str:
        """All that its attempts said."""
        parts = sorted((self.run / "log").glob("attempt_*.log"))
        return "".join(part.read_text() for part in parts)

    def processes(self, name: str) -> list[int]:
        """The processes that were ``name`` ("engine 0"), in order."""
        found = re.findall(rf" {name}: process (\d+) on ", self.log())
        return [int(process) for process in found]

    def copy(self, folder: Path, *, without_after: int) -> RunFiles:
        """A copy that goes on from version ``without_after``: later checkpoints are left out."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        copied = RunFiles(folder)
        for path in (copied.run / "checkpoints").iterdir():
            if int(path.name) > without_after:
                shutil.rmtree(path)
        return copied


class Driver:
    """``rlreason train`` in a process of its own, and all that it starts."""

    def __init__(
        self, files: RunFiles, *settings: str, environment: Mapping[str, str] | None = None
    ) -> None:
        files.folder.mkdir(parents=True, exist_ok=True)
        self.files, self._seen = files, set[tuple[int, str]]()
        command = [sys.executable, "-m", "rlreason", "train", "grpo.yaml", f"run.name={NAME}"]
        command += [f"run.folder={files.folder}", "cluster.threads=1", *settings]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        # To a file: what Ray leaves behind would hold a pipe open.
        self._output = files.folder / "output.txt"
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=files.folder,
                env=os.environ | {"PYTHONPATH": path} | dict(environment or {}),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def number(self) -> int:
        """Its process."""
        return self._process.pid

    def watch(self, done: Callable[[], bool]) -> None:
        """Wait until ``done`` or the end, remembering every process on the way."""
        until = time.monotonic() + LIMIT_S
        while self._process.poll() is None and not done():
            if time.monotonic() > until:
                self.kill()
                raise CheckError(f"{self.files.folder}: nothing for {LIMIT_S:g} s")
            self._seen |= {(one, _birth(one)) for one in descendants(self.number)}
            time.sleep(POLL_S)

    def await_steps(self, count: int) -> None:
        """Until so many steps are recorded."""
        self.watch(lambda: len(self.files.rows()) >= count)
        if len(self.files.rows()) < count:
            raise CheckError(f"{self.files.folder} ended early:\n{self.output()[-3000:]}")

    def timeline(
        self, events: Mapping[str, Callable[[], bool]], act: Callable[[], None]
    ) -> dict[str, float]:
        """Seconds from the start of ``act`` to each of ``events``; done with the last of them."""
        seen: dict[str, float] = {}
        last = list(events)[-1]
        start = time.monotonic()

        def look() -> bool:
            for name, happened in events.items():
                if name not in seen and happened():
                    seen[name] = time.monotonic() - start
            return last in seen

        act()
        self.watch(look)
        if last not in seen:
            raise CheckError(f"{self.files.folder} ended early:\n{self.output()[-3000:]}")
        return seen

    def finish(self) -> int:
        """Until it ends; its exit status."""
        self.watch(lambda: False)
        return self._process.wait()

    def succeed(self) -> RunFiles:
        """Until it ends well."""
        if self.finish() != 0:
            raise CheckError(f"{self.files.folder}: failed\n{self.output()[-3000:]}")
        return self.files

    def output(self) -> str:
        """What it said."""
        return self._output.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9 of the driver alone."""
        self._process.kill()
        self._process.wait()

    def survivors(self) -> list[int]:
        """Processes of the run that are still there."""
        return [one for one, birth in self._seen if is_alive(one) and _birth(one) == birth]

    def listening(self) -> list[tuple[str, int]]:
        """What the run listens on, with who listens."""
        return listeners([self.number, *descendants(self.number)])


def train(files: RunFiles, *settings: str) -> RunFiles:
    """Train to the end, from nothing or from what is there."""
    return Driver(files, *SMALL, *settings).succeed()


def hurt(process: int, sent: signal.Signals = signal.SIGKILL) -> None:
    """A fault."""
    os.kill(process, sent)


def wait_until(done: Callable[[], bool], seconds: float) -> float:
    """Seconds until ``done``.

    Raises:
        CheckError: If it takes longer than ``seconds``.
    """
    start = time.monotonic()
    while not done():
        if time.monotonic() - start > seconds:
            raise CheckError(f"not within {seconds:g} s")
        time.sleep(POLL_S)
    return time.monotonic() - start


def relative_gap(left: Path, right: Path) -> float:
    """L2 distance of two files of weights, as a part of the second's norm."""
    from safetensors.torch import load_file

    mine, theirs = load_file(left), load_file(right)
    squares = sum(float(((mine[name] - theirs[name]).double() ** 2).sum()) for name in theirs)
    whole = sum(float((value.double() ** 2).sum()) for value in theirs.values())
    return float((squares / whole) ** 0.5)


def largest_gap(mine: Iterator[float], theirs: Iterator[float]) -> float:
    """Largest relative difference of two series."""
    return max(
        abs(one - other) / max(abs(other), 1e-12) for one, other in zip(mine, theirs, strict=True)
    )


def _birth(process: int) -> str:
    """When it was started, so that a number that is used again is not taken for it."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
