"""What a person sees of a run, on a terminal and in a log."""

import io

import pytest
from rich.console import Console
from step_records import step_metrics

from rlreason.progress import (
    Eta,
    LiveDisplay,
    PlainDisplay,
    duration,
    open_display,
    phase_bar,
    short,
    step_line,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_step_is_one_line_with_its_numbers() -> None:
    assert step_line(step_metrics(11, signal_frac=0.62), 100, 36.0) == (
        "step  12/100  reward .25  signal .62  tokens 3  mismatch 2e-07  "
        "0.41 s (rollout .28 learn .11)  most easy .75  eta 36 s"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"truncated_frac": 0.25}, "cut .25"),
        ({"learned": False, "mismatch_kl": None}, "no update"),
        ({"learned": False, "skipped": True}, "update skipped"),
        ({"replayed": True}, "replayed"),
    ],
)
def test_what_is_unusual_is_said(changes, words: str) -> None:
    assert words in step_line(step_metrics(0, **changes), 10, None)
    assert words not in step_line(step_metrics(0), 10, None)


def test_the_rest_of_the_run_is_estimated_from_steps_that_sampled() -> None:
    eta = Eta(10)
    assert eta.after(step_metrics(0, replayed=True, step_s=100.0)) is None
    assert eta.after(step_metrics(1, step_s=1.0)) == pytest.approx(8.0)
    assert eta.after(step_metrics(2, step_s=3.0)) == pytest.approx(14.0)
    assert eta.after(step_metrics(9, step_s=2.0)) == 0.0


def test_without_a_terminal_there_are_plain_lines() -> None:
    stream = io.StringIO()
    display = open_display(stream)
    assert isinstance(display, PlainDisplay)
    display.start(10, 4)
    display.step(step_metrics(4))
    display.close()
    first, second = stream.getvalue().splitlines()
    assert first == "continuing after 4 of 10 steps"
    assert second.startswith("step  5/10  reward .25")
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_the_live_display_unless_in_ci(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    assert isinstance(open_display(Terminal()), LiveDisplay)
    monkeypatch.setenv("CI", "true")
    assert isinstance(open_display(Terminal()), PlainDisplay)


def test_the_live_display_shows_step_phases_and_pools() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    display = LiveDisplay(console)
    display.start(10, 0)
    display.step(step_metrics(6))
    display.message("alarm [bold]x[/bold] \x1b[2J")
    display.close()
    shown = console.file.getvalue()
    assert all(words in shown for words in ("7/10", "eta 1 s", "reward .25", "rollout .28", "easy"))
    assert "bonus 0.5" in shown
    assert "alarm [bold]x[/bold] \\x1b[2J" in shown


def test_the_display_holds_many_pools_by_showing_the_most_drawn() -> None:
    metrics = step_metrics(0)
    pools = {f"pool{i:02d}": metrics.pools["easy"] for i in range(40)}
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    display = LiveDisplay(console)
    display.start(10, 0)
    display.step(step_metrics(0, pools=pools))
    display.close()
    assert "and 28 more" in console.file.getvalue()


def test_model_text_cannot_drive_the_terminal() -> None:
    stream = io.StringIO()
    PlainDisplay(stream).message("\x1b]0;owned\x07\u202e")
    assert stream.getvalue() == "\\x1b]0;owned\\x07\\u202e\n"


def test_the_phase_bar_is_divided_by_time() -> None:
    bar = phase_bar({"rollout": 0.3, "learn": 0.1, "draw": 0.0}).plain
    assert bar.count("━") == 40
    assert "rollout .30" in bar
    assert "draw" not in bar
    assert phase_bar({}).plain.startswith("time")


def test_numbers_and_durations_are_short() -> None:
    assert [short(v) for v in (None, 0.426, -0.5, 12.0, 1.0, 0.999)] == [
        "-", ".43", "-.50", "12.00", "1.00", "1.00",
    ]  # fmt: skip
    assert [duration(s) for s in (0, 59.4, 250, 7500)] == [
        "0 s",
        "59 s",
        "4 min 10 s",
        "2 h 05 min",
    ]
