"""Shows a sweep while it runs: one live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlreason.progress import duration
from rlreason.redact import redact_text, visible
from rlreason.sweep.status import TrialState

_LINE_EVERY_S = 30.0
_SHOWN = 12


class SweepDisplay:
    """Where a person watches a sweep."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live: Live | None = None
        self._last_line = ""
        self._last_time = -_LINE_EVERY_S
        if self._console.is_terminal and not os.environ.get("CI"):
            self._live = Live(console=self._console, refresh_per_second=4)
            self._live.start()

    def update(self, states: Sequence[TrialState], eta_s: float | None) -> None:
        """Show where everything stands."""
        line = summary_line(states, eta_s)
        if self._live is not None:
            self._live.update(Group(Text(line), _running(states)))
            return
        now = time.monotonic()
        if line != self._last_line and now - self._last_time >= _LINE_EVERY_S:
            self._last_line, self._last_time = line, now
            self._console.print(Text(line), soft_wrap=True)

    def message(self, text: str) -> None:
        """Say something that stays in view."""
        self._console.print(Text(visible(redact_text(text))), soft_wrap=True)

    def close(self) -> None:
        """Leave the last state on the screen and stop drawing."""
        if self._live is not None:
            self._live.stop()


def summary_line(states: Sequence[TrialState], eta_s: float | None) -> str:
    """``12 of 30 finished, 2 running, 16 waiting, eta 14 min 03 s``."""
    counts = {
        phase: sum(state.phase == phase for state in states)
        for phase in ("running", "waiting", "failed")
    }
    finished = sum(state.phase == "finished" for state in states)
    parts = [f"{finished} of {len(states)} trials finished"]
    parts += [f"{count} {phase}" for phase, count in counts.items() if count]
    if eta_s is not None and any(state.left_frac for state in states):
        parts.append(f"eta {duration(eta_s)}")
    return ", ".join(parts)


def _running(states: Sequence[TrialState]) -> Table:
    grid = Table.grid(padding=(0, 2))
    running = [state for state in states if state.phase == "running"]
    for state in running[:_SHOWN]:
        total = state.trial.config.run.steps
        done = round(20 * state.steps / total)
        grid.add_row(
            Text(state.trial.name),
            Text("━" * done, style="blue") + Text("━" * (20 - done), style="bright_black"),
            f"step {state.steps}/{total}",
        )
    if len(running) > _SHOWN:
        grid.add_row(Text(f"and {len(running) - _SHOWN} more", style="dim"))
    return grid
