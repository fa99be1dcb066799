"""A sweep survives kills, failures and Ctrl-C; its children do not survive it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_sweep import FAKE, fake_command, run_here, small_plan, starts

from rlreason.build_sweep import run_planned
from rlreason.errors import ConfigError, RunLockedError
from rlreason.report.sweep_page import sweep_table
from rlreason.sweep.folder import SweepFolder, is_finished
from rlreason.sweep.outcome import open_outcome
from rlreason.sweep.plan import SweepPlan
from rlreason.sweep.status import TrialState, eta_s

PROGRAM = """
import sys
from pathlib import Path
from small_sweep import fake_command, small_plan
from rlreason.build_sweep import run_planned
run_planned(small_plan(Path(sys.argv[1])), command=fake_command(Path(sys.argv[1]) / "gates"))
"""


def start_sweep(folder: Path) -> subprocess.Popen[str]:
    path = [str(FAKE.parents[2]), str(FAKE.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(plan: SweepPlan, folder: Path, **options: bool) -> list[TrialState]:
    return run_planned(plan, command=fake_command(folder / "gates"), **options)


def table(plan: SweepPlan) -> str:
    return sweep_table(open_outcome(plan.folder))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline, "waited for minutes"
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("undisturbed")
    plan = small_plan(folder)
    states = run(plan, folder)
    assert [state.phase for state in states] == ["finished"] * 4
    return table(plan)


def test_a_killed_sweep_leaves_no_process_and_ends_with_the_same_table(
    tmp_path: Path, undisturbed: str
) -> None:
    plan, gates = small_plan(tmp_path), tmp_path / "gates"
    gates.mkdir()
    hold = gates / "dump-s0.hold"
    hold.touch()
    sweep = start_sweep(tmp_path)
    wait_for(lambda: is_finished(plan.run_folder(plan.trials[2]), plan.trials[2].config))
    wait_for(lambda: len(starts(gates, "dump-s1")) == 1 and len(starts(gates, "dump-s0")) == 1)
    children = [starts(gates, name)[0][1] for name in ("dump-s0", "dump-s1")]
    assert is_alive(children[0])
    sweep.send_signal(signal.SIGKILL)
    sweep.communicate()
    wait_for(lambda: not any(map(is_alive, children)))
    hold.unlink()
    states = run(plan, tmp_path)
    assert [state.phase for state in states] == ["finished"] * 4
    assert table(plan) == undisturbed
    assert len(starts(gates, "uniform-s0")) == len(starts(gates, "uniform-s1")) == 1
    # Continued where its folder stood. A kill is not the trial's failure.
    assert [first for _, _, first in starts(gates, "dump-s0")] == [0, 2]
    assert [state.failures for state in states] == [0] * 4


def test_a_trial_that_raises_is_tried_twice_more_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], undisturbed: str
) -> None:
    plan, gates = small_plan(tmp_path), tmp_path / "gates"
    gates.mkdir()
    fault = gates / "dump-s0.raise"
    fault.touch()
    phases = {state.trial.name: state.phase for state in run(plan, tmp_path)}
    assert phases == {
        "uniform-s0": "finished",
        "dump-s0": "failed",
        "uniform-s1": "finished",
        "dump-s1": "finished",
    }
    assert len(starts(gates, "dump-s0")) == 3
    shown = capsys.readouterr().out
    assert "exit code 1 (failure 3)" in shown
    assert "the loss is a banana" in shown
    assert "Failed: dump-s0." in table(plan)
    assert "too few seeds" in table(plan)
    # It stays marked, until someone asks.
    fault.unlink()
    run(plan, tmp_path)
    assert len(starts(gates, "dump-s0")) == 3
    run(plan, tmp_path, retry_failed=True)
    assert len(starts(gates, "dump-s0")) == 4
    assert table(plan) == undisturbed


def test_ctrl_c_stops_the_trials_and_leaves_all_resumable(tmp_path: Path) -> None:
    plan, gates = small_plan(tmp_path), tmp_path / "gates"
    gates.mkdir()
    for name in ("uniform-s0", "dump-s0"):
        (gates / f"{name}.hold").touch()
    sweep = start_sweep(tmp_path)
    wait_for(lambda: len(starts(gates, "uniform-s0")) == 1 and len(starts(gates, "dump-s0")) == 1)
    children = [starts(gates, name)[0][1] for name in ("uniform-s0", "dump-s0")]
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 130, output
    assert not any(map(is_alive, children))
    assert starts(gates, "uniform-s1") == []
    folder = SweepFolder(plan)
    assert [folder.failures(trial) for trial in plan.trials] == [0] * 4


def test_a_sweep_belongs_to_one_process(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    with SweepFolder(plan).open(), pytest.raises(RunLockedError, match="another process"):
        SweepFolder(plan).open()


def test_a_run_with_a_hole_is_not_finished(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "seeds=[0]")
    run_here(plan, tmp_path / "gates")
    trial = plan.trials[0]
    folder = plan.run_folder(trial)
    assert is_finished(folder, trial.config)
    last = folder / "evaluations" / "000004.parquet"
    content = last.read_bytes()
    last.unlink()
    assert not is_finished(folder, trial.config)
    last.write_bytes(content)
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:-1]))
    assert not is_finished(folder, trial.config)


def test_what_is_judged_may_not_change_once_results_are_known(tmp_path: Path) -> None:
    run_here(small_plan(tmp_path, "seeds=[0]"), tmp_path / "gates")
    with pytest.raises(ConfigError, match=r"metrics differ .* 2 finished trials"):
        run(small_plan(tmp_path, "seeds=[0]", "metrics.last=1"), tmp_path)
    with pytest.raises(ConfigError, match=r"(?s)trial uniform-s0 .*rollout.group_size: 8 before"):
        run(small_plan(tmp_path, "overrides.rollout.group_size=4"), tmp_path)


def test_seeds_added_later_are_run_and_told(tmp_path: Path) -> None:
    run_here(small_plan(tmp_path, "seeds=[0]"), tmp_path / "gates")
    plan = small_plan(tmp_path)
    run(plan, tmp_path)
    assert open_outcome(plan.folder).plan_changes == ("seeds changed after 2 finished trials",)
    assert len(starts(tmp_path / "gates", "uniform-s0")) == 1


def test_the_time_left_counts_what_is_left_of_every_trial(tmp_path: Path) -> None:
    states = [TrialState(trial) for trial in small_plan(tmp_path).trials]
    assert eta_s(states, {}, 2) is None
    states[0].phase, states[0].seconds = "finished", 40.0
    states[1].phase, states[1].steps = "running", 1
    # 0.75 + 1 + 1 trials are left, of 40 s each, two at a time.
    assert eta_s(states, {}, 2) == pytest.approx(2.75 * 40 / 2)
    assert eta_s(states, {}, 100) == pytest.approx(40)  # the longest one


def test_attempts_are_kept_as_lines(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "seeds=[0]")
    run(plan, tmp_path)
    lines = (plan.folder / "attempts.jsonl").read_text().splitlines()
    assert {json.loads(line)["trial"] for line in lines} == {"uniform-s0", "dump-s0"}
