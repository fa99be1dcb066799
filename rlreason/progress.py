"""Shows a run while it goes: one live display on a terminal, one plain line per step elsewhere.

Whatever is shown passes ``visible``: names and messages may hold model text, which must not be
able to drive a terminal.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Mapping
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from rlreason.metrics import StepMetrics
from rlreason.pool_words import most_weighted, term_words
from rlreason.redact import visible

_PHASE_COLORS = {
    "draw": "bright_black",
    "rollout": "blue",
    "score": "yellow",
    "journal": "magenta",
    "learn": "green",
    "wait": "bright_blue",
    "publish": "cyan",
}
_BAR_WIDTH = 40
_SHOWN_POOLS = 12


class Display(Protocol):
    """Where a person watches a run."""

    def start(self, total: int, first: int) -> None:
        """Begin at step ``first`` of ``total``."""
        ...

    def step(self, metrics: StepMetrics) -> None:
        """Show a finished step."""
        ...

    def message(self, text: str) -> None:
        """Say something that stays in view, such as an alarm."""
        ...

    def close(self) -> None:
        """Leave the last state on the screen and stop drawing."""
        ...


def open_display(stream: TextIO | None = None) -> Display:
    """A live display if ``stream`` (stdout by default) is a terminal and not in CI, else lines."""
    stream = stream or sys.stdout
    if stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        return LiveDisplay(Console(file=stream))
    return PlainDisplay(stream)


class Eta:
    """Remaining seconds, from the mean of the last steps that sampled."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._recent: deque[float] = deque(maxlen=20)

    def after(self, metrics: StepMetrics) -> float | None:
        """Seconds left after this step; None while only replayed steps have been seen."""
        if not metrics.replayed:
            self._recent.append(metrics.step_s)
        if not self._recent:
            return None
        return sum(self._recent) / len(self._recent) * (self._total - metrics.step - 1)


class PlainDisplay:
    """One line per step, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._total = 0
        self._eta = Eta(0)

    def start(self, total: int, first: int) -> None:
        """Say where the run begins."""
        self._total, self._eta = total, Eta(total)
        self.message(f"continuing after {first} of {total} steps" if first else f"{total} steps")

    def step(self, metrics: StepMetrics) -> None:
        """Write the step's line."""
        self.message(step_line(metrics, self._total, self._eta.after(metrics)))

    def message(self, text: str) -> None:
        """Write ``text`` at once."""
        print(visible(text), file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is held open."""


class LiveDisplay:
    """Step bar with ETA, the step's numbers, where its time went, and what is drawn."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("step"),
            BarColumn(_BAR_WIDTH),
            MofNCompleteColumn(),
            TextColumn("{task.fields[eta]}"),
        )
        self._task = self._bar.add_task("steps", total=None, eta="")
        self._eta = Eta(0)
        self._live = Live(self._bar, console=console, refresh_per_second=4)

    def start(self, total: int, first: int) -> None:
        """Draw the empty bar."""
        self._eta = Eta(total)
        self._bar.update(self._task, total=total, completed=first, eta="")
        self._live.start()

    def step(self, metrics: StepMetrics) -> None:
        """Redraw with the new numbers; the display's own clock decides when."""
        eta = self._eta.after(metrics)
        label = "" if eta is None else f"eta {duration(eta)}"
        self._bar.update(self._task, completed=metrics.step + 1, eta=label)
        self._live.update(
            Group(self._bar, _numbers(metrics), phase_bar(metrics.phase_s), _pools(metrics))
        )

    def message(self, text: str) -> None:
        """Print above the display."""
        self._live.console.print(Text(visible(text)))

    def close(self) -> None:
        """Stop drawing."""
        self._live.stop()


def step_line(metrics: StepMetrics, total: int, eta_s: float | None) -> str:
    """The step in one line, such as ``step  12/100  reward .43  signal .62  tokens 38 ...``."""
    width = len(str(total))
    parts = [
        f"step {metrics.step + 1:{width}d}/{total}",
        f"reward {short(metrics.reward_mean)}",
        f"signal {short(metrics.signal_frac)}",
        f"tokens {metrics.completion_tokens_mean:.0f}",
        f"mismatch {_scientific(metrics.mismatch_kl)}",
        f"{metrics.step_s:.2f} s ({_phases(metrics.phase_s)})",
    ]
    if metrics.ahead is not None and metrics.ahead.hidden_s > 0:
        parts.append(f"hidden {short(metrics.ahead.hidden_s)} s")
    if len(metrics.pools) > 1:
        [most] = most_weighted(metrics, 1)
        parts.append(f"most {most} {short(metrics.pools[most].weight)}")
    if metrics.truncated_frac > 0:
        parts.insert(4, f"cut {short(metrics.truncated_frac)}")
    if not metrics.learned:
        parts.append("update skipped" if metrics.skipped else "no update")
    if metrics.replayed:
        parts.append("replayed")
    if eta_s is not None:
        parts.append(f"eta {duration(eta_s)}")
    return "  ".join(parts)


def phase_bar(phase_s: Mapping[str, float]) -> Text:
    """A bar whose coloured parts are the step's phases, with their seconds behind it."""
    total = sum(phase_s.values())
    bar, legend = Text(), Text()
    for name, seconds in phase_s.items():
        color = _PHASE_COLORS.get(name, "white")
        bar.append("━" * round(_BAR_WIDTH * seconds / total if total else 0), style=color)
        if seconds >= 0.005:
            legend.append(f"  {visible(name)} {short(seconds)}", style=color)
    return Text.assemble("time ", bar, legend, " s")


def short(value: float | None) -> str:
    """Two decimals without a leading zero; a dash for what is not known."""
    if value is None:
        return "-"
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """``36 s``, ``4 min 10 s`` or ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _scientific(value: float | None) -> str:
    return "-" if value is None else f"{value:.0e}"


def _phases(phase_s: Mapping[str, float]) -> str:
    longest = sorted(phase_s.items(), key=lambda item: -item[1])[:2]
    return " ".join(f"{name} {short(seconds)}" for name, seconds in longest)


def _numbers(metrics: StepMetrics) -> Table:
    grid = Table.grid(padding=(0, 3))
    grid.add_row(
        f"reward {short(metrics.reward_mean)} ± {short(metrics.reward_std)}",
        f"signal {short(metrics.signal_frac)}",
        f"solved {short(metrics.solved_frac)}",
        f"hopeless {short(metrics.hopeless_frac)}",
    )
    grid.add_row(
        f"tokens {metrics.completion_tokens_mean:.0f}, longest {metrics.completion_tokens_max}",
        f"cut {short(metrics.truncated_frac)}",
        f"entropy {short(metrics.entropy)}",
        f"mismatch {_scientific(metrics.mismatch_kl)}",
    )
    return grid


def _pools(metrics: StepMetrics) -> Table:
    """The pools of largest weight, in the order of the recipe, with the terms behind it."""
    names = set(most_weighted(metrics, _SHOWN_POOLS))
    shown = [name for name in metrics.pools if name in names]
    largest = max((metrics.pools[name].weight for name in shown), default=1.0) or 1.0
    grid = Table.grid(padding=(0, 2))
    for name in shown:
        pool = metrics.pools[name]
        grid.add_row(
            Text(visible(name)),
            Text("━" * max(1, round(20 * pool.weight / largest)), style="blue"),
            f"weight {short(pool.weight)}",
            f"reward {short(pool.reward_mean)}",
            Text(visible(term_words(pool)), style="dim", no_wrap=True, overflow="ellipsis"),
        )
    if len(metrics.pools) > len(shown):
        grid.add_row(Text(f"and {len(metrics.pools) - len(shown)} more", style="dim"))
    return grid
