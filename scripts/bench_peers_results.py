"""From segments to what is printed and written: times with their spread, ratios, conventions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from statistics import fmean, median
from typing import Any, NamedTuple

from bench_peers_segment import SegmentResult
from rich.table import Table

from rlreason.machine import describe_machine

CONTENDERS = ("trl", "rlreason")
"""In the order in which they take turns."""

DIFFERENCES = (
    "TRL computes a forward and backward for every completion; rlreason leaves out groups whose "
    "advantages are all zero (their gradient is zero) and keeps their tokens in the denominator.",
    "TRL pads a batch to its longest prompt and completion; rlreason sorts by length first.",
    "Advantages: TRL divides by std + 1e-4, rlreason by std + 1e-6.",
    "With two updates a step TRL deals shuffled completions to them and divides by the mean number "
    "of tokens of both; rlreason deals whole groups and divides by the update's own tokens.",
    "TRL's AdamW is torch's fused one (its default).",
    "TRL scores in its own process; rlreason scores in a killable worker process, writes every "
    "rollout to disk before it learns and proves which weights sampled it: all inside its time.",
    "Random numbers: TRL samples from torch's generator, rlreason from a seed per request. The "
    "problems of every step, the prompts' tokens, the reward and the schedule are the same.",
)
"""What still differs, by convention of either side."""


class Spread(NamedTuple):
    """A number with its range over repeats."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Median, lowest and highest."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.middle:.3g} ({self.low:.3g} to {self.high:.3g})"


class JobResult(NamedTuple):
    """All segments of one job."""

    title: str
    segments: Mapping[str, Sequence[SegmentResult]]
    """Contender -> one result per repeat; repeat i of both ran one after the other."""
    accuracy: Mapping[str, Sequence[float]]
    """Contender -> greedy held-out accuracy per repeat; empty for a job without one."""
    base_accuracy: float | None

    def step_s(self, contender: str) -> Spread:
        """Mean seconds per step, over repeats."""
        return Spread.of([fmean(result.step_s) for result in self.segments[contender]])

    def ratio(self) -> Spread:
        """How many times longer TRL's step takes, repeat by repeat."""
        pairs = zip(*(self.segments[name] for name in CONTENDERS), strict=True)
        return Spread.of([fmean(trl.step_s) / fmean(ours.step_s) for trl, ours in pairs])

    def cpu_ratio(self) -> Spread:
        """The same in processor seconds, which a busy machine disturbs less."""
        pairs = zip(*(self.segments[name] for name in CONTENDERS), strict=True)
        return Spread.of([trl.cpu_s / ours.cpu_s for trl, ours in pairs])

    def phases(self) -> dict[str, float]:
        """rlreason's mean seconds per phase, over repeats."""
        parts = [result.phase_s for result in self.segments["rlreason"]]
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: fmean(part.get(name, 0.0) for part in parts) for name in names}

    def to_json(self) -> dict[str, Any]:
        """Every number, and the ratios."""
        return {
            "title": self.title,
            "segments": {
                name: [asdict(result) for result in results]
                for name, results in self.segments.items()
            },
            "accuracy": {name: list(values) for name, values in self.accuracy.items()},
            "base_accuracy": self.base_accuracy,
            "step_s": {name: self.step_s(name)._asdict() for name in CONTENDERS},
            "ratio": self.ratio()._asdict(),
            "cpu_ratio": self.cpu_ratio()._asdict(),
            "phase_s": self.phases(),
        }


def machine_facts() -> dict[str, str]:
    """Machine, versions and load."""
    versions = {name: metadata.version(name) for name in ("trl", "accelerate")}
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return describe_machine() | versions | {"load average at start": load}


def contenders_table(job: JobResult) -> Table:
    """Both contenders side by side, and the ratio in the last row."""
    table = Table(title=job.title, title_justify="left")
    table.add_column("")
    for column in ("s a step", "cpu-s a step", "tokens", "accuracy", "reward", "start s", "load"):
        table.add_column(column, justify="right")
    for name in CONTENDERS:
        results = job.segments[name]
        table.add_row(
            name,
            str(job.step_s(name)),
            str(Spread.of([result.cpu_s for result in results])),
            f"{fmean(result.completion_tokens for result in results):.1f}",
            _accuracies(job.accuracy.get(name, ())),
            f"{fmean(result.reward for result in results):.2f}",
            f"{median([result.start_s for result in results]):.0f}",
            " ".join(f"{result.load:.1f}" for result in results),
        )
    base = "" if job.base_accuracy is None else f"base {job.base_accuracy:.3f}"
    table.add_row("trl / rlreason", str(job.ratio()), str(job.cpu_ratio()), "", base, "", "", "")
    return table


def _accuracies(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{fmean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"


def phases_table(job: JobResult) -> Table:
    """Where rlreason's step goes."""
    table = Table(title="rlreason's step by phase", title_justify="left")
    table.add_column("phase")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    phases = job.phases()
    whole = sum(phases.values())
    for name, seconds in sorted(phases.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{1000 * seconds:.1f}", f"{100 * seconds / whole:.1f} %")
    return table
