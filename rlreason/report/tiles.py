"""The numbers at the top of a run's page, and its table of phase times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlreason.metrics import WORK_PHASES, StepMetrics
from rlreason.progress import duration
from rlreason.report.run_data import RunData


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number at the top of the page."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRow:
    """One phase's line in the table of times."""

    name: str
    total: str
    per_step: str
    share: str


def tiles(run: RunData) -> list[Tile]:
    """Accuracy, steps, time, completions and alarms."""
    shown = [*_accuracy_tiles(run), *_course_tiles(run)]
    note = "see below" if run.alarms else "nothing looked wrong"
    return [*shown, Tile(label="alarms", value=str(len(run.alarms)), note=note)]


def _accuracy_tiles(run: RunData) -> list[Tile]:
    if not run.evaluations:
        return []
    first, last = run.evaluations[0], run.evaluations[-1]
    before, after = (row["overall"]["greedy"]["mean"] for row in (first, last))
    problems = last["overall"]["num_problems"]
    value = f"{before:.2f} → {after:.2f}" if last is not first else f"{before:.2f}"
    note = f"greedy, {problems} problems in {len(last['pools'])} pools, version {last['version']}"
    return [Tile(label="held-out accuracy", value=value, note=note)]


def _course_tiles(run: RunData) -> list[Tile]:
    rows = run.rows
    if not rows:
        return []
    planned = run.config.get("run", {}).get("steps")
    step_s = sum(row.step_s for row in rows)
    rollouts = sum(row.num_rollouts for row in rows)
    tokens = sum(row.rollout_tokens for row in rows)
    replayed = sum(row.replayed for row in rows)
    overhead = [row.overhead_frac for row in rows if row.overhead_frac is not None]
    return [
        Tile(
            label="steps",
            value=f"{len(rows)} of {planned}" if planned else str(len(rows)),
            note=f"{replayed} replayed after a resume" if replayed else "in one go",
        ),
        Tile(
            label="time in steps",
            value=duration(step_s),
            note=f"{step_s / len(rows):.2f} s a step, {_mean(overhead):.1%} overhead of the loop",
        ),
        Tile(label="completions", value=f"{rollouts:,}", note=f"{tokens:,} tokens sampled"),
        *_hidden_tile(rows),
    ]


def _hidden_tile(rows: Sequence[StepMetrics]) -> list[Tile]:
    """How much of the sampling the learner's work hid, where the two overlapped."""
    ahead = [row.ahead for row in rows if row.ahead is not None]
    beside_s = sum(sum(one.phase_s.values()) for one in ahead)
    if not beside_s:
        return []
    hidden_s = sum(one.hidden_s for one in ahead)
    note = f"of {duration(beside_s)} that ran beside the learner, one version behind"
    return [Tile(label="sampling hidden", value=f"{hidden_s / beside_s:.0%}", note=note)]


def phase_rows(rows: Sequence[StepMetrics]) -> list[PhaseRow]:
    """Seconds per phase, the longest first."""
    totals: dict[str, float] = {}
    for row in rows:
        for name, seconds in row.phase_s.items():
            totals[name] = totals.get(name, 0.0) + seconds
    total = sum(totals.values()) or 1.0
    return [
        PhaseRow(
            name=name if name in WORK_PHASES else f"{name} (overhead)",
            total=f"{seconds:.2f} s",
            per_step=f"{1000 * seconds / len(rows):.1f} ms",
            share=f"{seconds / total:.1%}",
        )
        for name, seconds in sorted(totals.items(), key=lambda item: -item[1])
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
