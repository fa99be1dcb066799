"""The product itself, once: two real trials from the command line, then nothing left to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_sweep import write_files
from warm_start import WarmProcess

SWEEP = """
kind: sweep
name: small
base: tiny.yaml
overrides:
  run: {steps: 2}
  rollout: {problems_per_step: 2, group_size: 2, max_completion_tokens: 16}
axes:
  curriculum:
    uniform: {curriculum: "curricula.uniform:Uniform"}
    dump: {curriculum: {use: "curricula.dump:Dump", window: 50}}
baseline: {curriculum: uniform}
seeds: [0]
metrics: {last: 1}
slots: 2
"""


COMMAND = ("-m", "rlreason", "sweep", "small.yaml")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("real")
    write_files(folder, SWEEP)
    result = subprocess.run(
        [sys.executable, *COMMAND],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


def test_trials_are_ordinary_runs(done: tuple[Path, str]) -> None:
    folder, shown = done
    assert "uniform-s0: finished" in shown
    assert "No winner is named for dump: fewer than 3 paired seeds." in shown
    for name in ("uniform-s0", "dump-s0"):
        run = folder / "sweeps" / "small" / "trials" / name
        assert (run / "checkpoints" / "000002" / "policy" / "model.safetensors").is_file()
        assert (run / "report.html").is_file()
        assert "step 2/2" in (folder / "sweeps" / "small" / "logs" / f"{name}.log").read_text()
    assert (folder / "sweeps" / "small" / "report.html").is_file()


def test_a_dry_run_says_what_is_done_and_how_long_the_rest_takes(
    done: tuple[Path, str], warm: WarmProcess
) -> None:
    code, output = warm.run(*COMMAND, "--dry-run", "seeds=[0,1]", cwd=done[0])
    assert code == 0, output
    assert "2 of 4 trials finished, 2 waiting, eta" in output
    assert "curriculum.use" in output
    assert not (done[0] / "sweeps" / "small" / "trials" / "dump-s1").exists()


def test_a_plug_in_that_does_not_load_is_found_before_any_trial_starts(
    tmp_path: Path, warm: WarmProcess
) -> None:
    write_files(tmp_path, SWEEP.replace("window: 50", "windows: 50"))
    code, output = warm.run(*COMMAND, cwd=tmp_path)
    assert code == 2
    assert "trial dump-s0" in output
    assert "did you mean 'window'" in output
    assert not (tmp_path / "sweeps").exists()
