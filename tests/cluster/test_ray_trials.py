"""Two Ray nodes on this machine run a sweep; one of them is killed on the way."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlreason.sweep.outcome import open_outcome

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the ray extra")
def test_a_lost_node_costs_a_sweep_nothing_but_time(tmp_path: Path) -> None:
    path = [str(ROOT), str(ROOT / "tests" / "sweep"), os.environ.get("PYTHONPATH", "")]
    settings = {
        "PYTHONPATH": os.pathsep.join(path),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "for-this-test-alone-" * 3,
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("ray_node_loss.py")), str(tmp_path)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=200,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert len(lines) == 1, done.stdout[-2000:] + done.stderr[-4000:]
    result = json.loads(lines[0].removeprefix("RESULT"))
    assert (result["slots"], result["failures"]) == (4, 0)
    assert result["phases"] == ["finished"] * 4
    # Two trials were lost and went on elsewhere, from their last recorded step.
    assert sorted(result["first_steps"]) == [[0], [0], [0, 2], [0, 2]]
    outcome = open_outcome(tmp_path / "sweeps" / "small")
    assert [arm.seeds for arm in outcome.analysis.arms] == [(0, 1), (0, 1)]
