"""How far each trial is, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from rlreason.sweep.folder import SweepFolder, steps_done
from rlreason.sweep.plan import Trial

Phase = Literal["waiting", "running", "finished", "failed"]


@dataclass(slots=True)
class TrialState:
    """One trial, as the scheduler sees it."""

    trial: Trial
    failures: int = 0
    phase: Phase = "waiting"
    steps: int = 0
    """Steps recorded; kept current while it is not finished."""
    seconds: float = 0.0
    """Wall time of its attempts, once finished."""

    @property
    def left_frac(self) -> float:
        """Share of its steps that are still to be done."""
        if self.phase in ("finished", "failed"):
            return 0.0
        return max(0.0, 1 - self.steps / self.trial.config.run.steps)


def read_states(folder: SweepFolder) -> list[TrialState]:
    """Every trial's state, from the disk alone."""
    states = []
    for trial in folder.plan.trials:
        state = TrialState(trial, folder.failures(trial))
        state.steps = steps_done(folder.plan.run_folder(trial))
        if folder.is_finished(trial):
            state.phase, state.seconds = "finished", folder.seconds(trial)
        elif state.failures > folder.plan.config.retries:
            state.phase = "failed"
        states.append(state)
    return states


def eta_s(states: Sequence[TrialState], started: Mapping[str, float], slots: int) -> float | None:
    """Seconds until all is done; None before anything tells how long a trial takes.

    A trial takes as long as the finished ones did, or, before one has finished, as the pace of the
    running ones says.
    """
    whole = [state.seconds for state in states if state.phase == "finished" and state.seconds]
    if not whole:
        now = time.monotonic()
        whole = [
            (now - started[state.trial.name]) / (1 - state.left_frac)
            for state in states
            if state.trial.name in started and state.steps
        ]
    if not whole:
        return None
    left = [state.left_frac for state in states if state.left_frac]
    # Never less than the longest trial that is left, however many slots there are.
    return fmean(whole) * max(sum(left) / max(slots, 1), max(left, default=0.0))
