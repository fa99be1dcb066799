"""Reads a sweep folder whole: its plan, the state of its trials, and what they show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlreason.config_file import load_sweep
from rlreason.sweep.analysis import Analysis, analyse
from rlreason.sweep.folder import SWEEP_FILE, SweepFolder
from rlreason.sweep.plan import SweepPlan, make_plan
from rlreason.sweep.results import TrialResult, read_trial
from rlreason.sweep.status import TrialState, read_states


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A sweep, finished or under way."""

    plan: SweepPlan
    states: tuple[TrialState, ...]
    results: tuple[TrialResult, ...]
    """Of the finished trials."""
    analysis: Analysis
    plan_changes: tuple[str, ...]
    """What was changed after the first plan."""


def read_outcome(folder: SweepFolder) -> Outcome:
    """What the finished trials of a sweep show.

    Raises:
        DataError: If they cannot be compared.
    """
    plan, states = folder.plan, read_states(folder)
    results = [
        read_trial(
            plan.run_folder(state.trial),
            arm=state.trial.arm,
            seed=state.trial.seed,
            measure=plan.config.metrics.measure,
        )
        for state in states
        if state.phase == "finished"
    ]
    analysis = analyse(results, plan.config, baseline=plan.baseline, pools=plan.pools)
    return Outcome(
        plan=plan,
        states=tuple(states),
        results=tuple(results),
        analysis=analysis,
        plan_changes=tuple(folder.plan_changes()),
    )


def open_outcome(path: Path) -> Outcome:
    """The outcome of the sweep folder at ``path``, wherever it was moved."""
    config = load_sweep(str(path / SWEEP_FILE))
    moved = config.model_copy(update={"folder": str(path.parent), "name": path.name})
    return read_outcome(SweepFolder(make_plan(moved, path / SWEEP_FILE)))
