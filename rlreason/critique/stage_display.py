"""Shows a run of stages: a bar with ETA on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from rlreason.progress import duration
from rlreason.redact import visible

SECONDS_BETWEEN_LINES = 5.0
"""A log needs no line for every reply."""


class StageDisplay(Protocol):
    """Where a person watches stages."""

    def begin(self, stage: str, number: int, total: int) -> None:
        """A stage starts."""
        ...

    def progress(self, done: int, total: int, what: str) -> None:
        """``done`` of ``total`` things of the stage are there."""
        ...

    def end(self) -> None:
        """The stage is done."""
        ...

    def message(self, text: str) -> None:
        """Say something that stays in view."""
        ...

    def close(self) -> None:
        """Stop drawing."""
        ...


def open_stage_display(stream: TextIO | None = None) -> StageDisplay:
    """A live bar if ``stream`` (stdout by default) is a terminal and not in CI, else lines."""
    stream = stream or sys.stdout
    if stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        return LiveStages(Console(file=stream))
    return PlainStages(stream)


class Pace:
    """Remaining seconds, from what this process did itself since its first thing was done: what a
    killed process left came free, and the first one paid for the start of an engine."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._what = ""
        self._begin, self._first, self._warm = 0.0, 0, False

    def eta(self, done: int, total: int, what: str) -> str:
        """``eta 36 s``, or nothing while there is nothing to judge by."""
        if what != self._what:
            self._what, self._begin, self._first, self._warm = what, self._now(), done, False
        elif done > self._first and not self._warm:
            self._begin, self._first, self._warm = self._now(), done, True
        made = done - self._first
        if made <= 0 or done >= total:
            return ""
        return f"eta {duration((self._now() - self._begin) / made * (total - done))}"


class PlainStages:
    """Lines for logs and pipes."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._now = stream, now
        self._stage, self._what, self._begin, self._last = "", "", 0.0, 0.0
        self._pace = Pace(now)

    def begin(self, stage: str, number: int, total: int) -> None:
        """Say which stage starts."""
        self._stage, self._what = f"stage {number}/{total} {stage}", ""
        self._begin = self._last = self._now()
        self._pace = Pace(self._now)
        self.message(f"{self._stage}: begins")

    def progress(self, done: int, total: int, what: str) -> None:
        """A line for each new kind of work, then one now and then."""
        eta = self._pace.eta(done, total, what)
        if what != self._what or self._now() - self._last >= SECONDS_BETWEEN_LINES:
            self._what, self._last = what, self._now()
            self.message(f"{self._stage}: {what} {done}/{total}  {eta}".rstrip())

    def end(self) -> None:
        """Say how long it took."""
        self.message(f"{self._stage}: done in {duration(self._now() - self._begin)}")

    def message(self, text: str) -> None:
        """Write ``text`` at once."""
        print(visible(text), file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is held open."""


class LiveStages:
    """One bar: the stage under way."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[eta]}"),
            console=console,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._stage, self._begin = "", 0.0
        self._pace = Pace(time.monotonic)

    def begin(self, stage: str, number: int, total: int) -> None:
        """Show an empty bar."""
        self._stage, self._begin = f"stage {number}/{total} {stage}", time.monotonic()
        self._pace = Pace(time.monotonic)
        self._task = self._bar.add_task(self._stage, total=None, eta="")
        self._bar.start()

    def progress(self, done: int, total: int, what: str) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bar.update(
                self._task,
                description=visible(f"{self._stage}: {what}"),
                completed=done,
                total=total,
                eta=self._pace.eta(done, total, what),
            )

    def end(self) -> None:
        """Replace the bar by a line."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
            self._bar.refresh()  # or its last picture would stay behind the line
        self.message(f"{self._stage}: done in {duration(time.monotonic() - self._begin)}")

    def message(self, text: str) -> None:
        """Print above the bar."""
        self._bar.console.print(Text(visible(text)))

    def close(self) -> None:
        """Stop drawing."""
        self._bar.stop()
