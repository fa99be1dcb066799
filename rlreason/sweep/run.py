"""Runs a sweep: every trial that is not finished, as many at once as there are slots.

The scheduler holds no state that a kill could lose: what is finished stands in the trials' run
folders, what failed in ``attempts.jsonl``. A trial that was under way continues by its own resume.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from rlreason.interrupts import Interrupts
from rlreason.protocols import TrialBackend
from rlreason.sweep.display import SweepDisplay
from rlreason.sweep.folder import SweepFolder, steps_done
from rlreason.sweep.plan import Trial
from rlreason.sweep.status import TrialState, eta_s, read_states

POLL_S = 0.2
USER_MISTAKE = 2
"""Exit code of a run that refuses its config or data: trying again would not help."""

CommandOf = Callable[[Path], Sequence[str]]
"""Config file -> the command that runs it."""


def train_command(config_file: Path) -> list[str]:
    """``rlreason train`` with this interpreter."""
    return [sys.executable, "-m", "rlreason", "train", str(config_file)]


def run_sweep(
    folder: SweepFolder,
    backend: TrialBackend,
    display: SweepDisplay,
    command: CommandOf = train_command,
) -> list[TrialState]:
    """Run what is missing, until every trial is finished or marked as failed.

    Args:
        folder: The sweep, opened.
        backend: Where trials run.
        display: Where a person watches.
        command: Another one than ``train_command`` in tests alone.

    Returns:
        Every trial's state.

    Raises:
        SystemExit: 130 or 143 after SIGINT or SIGTERM, once the trials have saved.
    """
    return _Scheduler(folder, backend, display, command).run()


class _Scheduler:
    def __init__(
        self,
        folder: SweepFolder,
        backend: TrialBackend,
        display: SweepDisplay,
        command: CommandOf,
    ) -> None:
        self._folder = folder
        self._backend = backend
        self._display = display
        self._command = command
        self._limit = folder.plan.config.retries
        self.states = {state.trial.name: state for state in read_states(folder)}
        self._waiting = deque(
            state.trial for state in self.states.values() if state.phase == "waiting"
        )
        self._started: dict[str, float] = {}

    def run(self) -> list[TrialState]:
        try:
            with Interrupts() as interrupts:
                self._loop(interrupts)
            if interrupts.received is not None:
                raise SystemExit(interrupts.exit_code)
        finally:
            self._backend.close()
            self._display.close()
        return list(self.states.values())

    def _loop(self, interrupts: Interrupts) -> None:
        asked = False
        while self._waiting or self._started:
            if interrupts.received is not None:
                self._waiting.clear()
                if not asked:
                    self._backend.stop()
                asked = True
            while self._waiting and len(self._started) < self._backend.slots:
                self._start(self._waiting.popleft())
            for name, code in self._backend.ended().items():
                self._end(self.states[name], code, interrupted=asked)
            self._show()
            if self._started:
                time.sleep(POLL_S)

    def _start(self, trial: Trial) -> None:
        config_file = self._folder.write_config(trial)
        threads = trial.config.cluster.threads
        self._started[trial.name] = time.monotonic()
        self.states[trial.name].phase = "running"
        self._backend.start(
            trial.name,
            self._command(config_file.resolve()),
            log=self._folder.log_of(trial),
            environment={"OMP_NUM_THREADS": str(threads)} if threads else {},
        )

    def _end(self, state: TrialState, code: int, *, interrupted: bool) -> None:
        trial = state.trial
        seconds = time.monotonic() - self._started.pop(trial.name)
        finished = self._folder.is_finished(trial)
        if finished or not interrupted:
            # A run that says 0 and left no results has failed too.
            self._folder.add_attempt(trial, 0 if finished else code or 1, seconds)
        if finished:
            state.phase, state.seconds = "finished", self._folder.seconds(trial)
            self._display.message(f"{trial.name}: finished")
        elif interrupted:
            state.phase = "waiting"
        else:
            self._fail(state, code)

    def _fail(self, state: TrialState, code: int) -> None:
        trial, log = state.trial, self._folder.log_of(state.trial)
        state.failures = self._folder.failures(trial)
        again = state.failures <= self._limit and code != USER_MISTAKE
        state.phase = "waiting" if again else "failed"
        if again:
            self._waiting.append(trial)
        then = "is tried again" if again else "is marked as failed; the others go on"
        self._display.message(
            f"{trial.name}: {_ending(code)} (failure {state.failures}) and {then}: "
            f"{last_line(log)} ({log})"
        )

    def _show(self) -> None:
        for state in self.states.values():
            if state.phase in ("running", "waiting"):
                state.steps = steps_done(self._folder.plan.run_folder(state.trial))
        states = list(self.states.values())
        self._display.update(states, eta_s(states, self._started, self._backend.slots))


def last_line(log: Path) -> str:
    """The last thing that a trial said."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][:300] if lines else "it said nothing"


def _ending(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"
