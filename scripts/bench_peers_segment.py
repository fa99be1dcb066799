"""One contender's share of a benchmark: what it is asked to do, and what it reports back.

Both travel as JSON between the program and the fresh process that does the work, so that nothing
which one contender imports, compiles or sets can touch the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from rlreason.config import GrpoConfig
from rlreason.config_file import load_config

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One run of one contender, in a process of its own."""

    contender: str
    """``trl`` or ``rlreason``."""
    recipe: str
    """The job: both contenders read their settings from this file."""
    overrides: tuple[str, ...]
    folder: str
    """Where the run writes; empty before it."""
    threads: int
    warmup: int
    """First steps that are left out of every time."""
    trl_batch: int
    """Completions per forward and backward of TRL (per_device_train_batch_size)."""

    def config(self) -> GrpoConfig:
        """The job as rlreason reads it."""
        places = (f"run.folder={self.folder}", f"cluster.threads={self.threads}")
        return load_config(self.recipe, [*self.overrides, *places])


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentResult:
    """What a contender did."""

    step_s: tuple[float, ...]
    """Wall seconds per step, from the end of the step before, without the warm-up."""
    cpu_s: float
    """Processor seconds per step of the process and its children, over the same steps."""
    completion_tokens: float
    """Mean length over the same steps."""
    reward: float
    """Mean training reward of the last of these steps, at most ten."""
    start_s: float
    """From the start of the process to its first step."""
    policy: str
    """Folder of the final policy."""
    phase_s: Mapping[str, float] = field(default_factory=dict)
    """Mean seconds per phase, where the contender measures them."""
    load: float = 0.0
    """One-minute load average of the machine just before."""


class Stamps:
    """Marks the end of each step; knows nothing of what a step is made of."""

    def __init__(self, warmup: int, steps: int) -> None:
        self._warmup, self._steps = warmup, steps
        self._count = 0
        self._ends: list[float] = []
        self._cpu: list[float] = []

    def mark(self) -> None:
        """A step has ended."""
        self._count += 1
        last = self._count == self._steps
        if last:
            self._ends.append(time.perf_counter())
        if self._count == self._warmup or last:
            self._cpu.append(_cpu_seconds())
        if self._warmup <= self._count and not last:
            self._ends.append(time.perf_counter())

    @property
    def step_s(self) -> tuple[float, ...]:
        """Seconds of each step behind the warm-up."""
        assert self._count == self._steps, f"{self._count} of {self._steps} steps were marked"
        return tuple(end - start for start, end in zip(self._ends, self._ends[1:], strict=False))

    @property
    def cpu_s(self) -> float:
        """Processor seconds per step behind the warm-up."""
        return (self._cpu[1] - self._cpu[0]) / (self._steps - self._warmup)


def _cpu_seconds() -> float:
    process = psutil.Process()
    times = [part.cpu_times() for part in (process, *process.children(recursive=True))]
    return sum(part.user + part.system for part in times)


def since_process_start() -> float:
    """Seconds that this process has lived."""
    return time.time() - psutil.Process().create_time()


def run_segment(segment: Segment) -> SegmentResult:
    """Run ``segment`` in a fresh process and read what it reports."""
    folder = Path(segment.folder)
    folder.mkdir(parents=True)
    load = os.getloadavg()[0]
    request, answer = folder / "segment.json", folder / "result.json"
    request.write_text(json.dumps(asdict(segment)))
    run_worker(segment.contender, request, answer, threads=segment.threads)
    reported = json.loads(answer.read_text())
    return SegmentResult(**reported | {"step_s": tuple(reported["step_s"]), "load": load})


def run_worker(task: str, request: Path, answer: Path, *, threads: int) -> None:
    """Run ``bench_peers_worker.py TASK REQUEST ANSWER`` with ``threads`` threads.

    Raises:
        SystemExit: If it fails, with the end of what it said.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, str(HERE / "bench_peers_worker.py"), task, str(request), str(answer)]
    done = subprocess.run(
        command,
        env=environment,
        cwd=HERE.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    answer.with_suffix(".log").write_text(done.stdout)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise SystemExit(f"{task} failed with {done.returncode}:\n{tail}")


def read_segment(path: Path) -> Segment:
    """What ``run_segment`` wrote."""
    values = json.loads(path.read_text())
    return Segment(**values | {"overrides": tuple(values["overrides"])})
