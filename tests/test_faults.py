"""Planned faults fire at their phase and step, and nowhere else."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rlreason import faults
from rlreason.errors import ConfigError


@pytest.fixture(autouse=True)
def _read_the_variable_anew() -> Iterator[None]:
    faults._plan.cache_clear()
    yield
    faults._plan.cache_clear()


def start_points(plan: str) -> subprocess.Popen[str]:
    """A process that passes three fault points and prints after each."""
    script = (
        "from rlreason.faults import fault_point\n"
        "for step in (1, 2, 3):\n"
        "    fault_point('learn', step); print(step, flush=True)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={"RLREASON_FAULT": plan, "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_nothing_happens_without_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(faults.VARIABLE, raising=False)
    assert faults.fault_point("learn", 1) is None


@pytest.mark.parametrize(("phase", "step"), [("learn", 3), ("publish", 2), ("journal", 3)])
def test_other_phases_and_steps_pass(
    monkeypatch: pytest.MonkeyPatch, phase: str, step: int
) -> None:
    monkeypatch.setenv(faults.VARIABLE, "learn:2:raise")
    assert faults.fault_point(phase, step) is None


def test_raise_names_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(faults.VARIABLE, "learn:2:raise")
    with pytest.raises(faults.InjectedError, match="phase 'learn' of step 2"):
        faults.fault_point("learn", 2)


def test_kill9_ends_the_process_at_the_point() -> None:
    process = start_points("learn:2:kill9")
    printed, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert printed.split() == ["1"]


def test_hang_stays_at_the_point() -> None:
    process = start_points("learn:3:hang")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["1\n", "2\n"]
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.kill()
    assert process.communicate()[0] == ""


@pytest.mark.parametrize(
    "plan", ["learn", "learn:2", "learn:x:raise", "learn:2:explode", ":2:raise", "learn:-1:raise"]
)
def test_a_plan_that_does_not_parse_is_an_error(monkeypatch: pytest.MonkeyPatch, plan: str) -> None:
    monkeypatch.setenv(faults.VARIABLE, plan)
    with pytest.raises(ConfigError, match="phase:step:action"):
        faults.fault_point("learn", 1)
