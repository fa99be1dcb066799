"""Whole runs with LoRA: one learns, and one that is broken off ends with the same bits.

Broken off by an exception where other tests kill: what is on the disk then is what a kill leaves.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_runs import STEPS
from safetensors.torch import load_file
from warm_start import WarmProcess

from rlreason.models import resolve_model

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, warm: WarmProcess) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    code, output = warm.run(HERE / "lora_runs.py", folder)
    assert code == 0, output[-3000:]
    assert "broken off in publish 1" in output
    assert "broken off in learn 3" in output
    return folder


def checkpoint(runs: Path, name: str) -> Path:
    return runs / name / "lora" / "checkpoints" / f"{STEPS:06d}"


def state(runs: Path, name: str) -> dict[str, Any]:
    return json.loads((checkpoint(runs, name) / "state.json").read_text())


def test_a_run_broken_off_twice_ends_with_the_same_bits(runs: Path) -> None:
    assert state(runs, "broken") == state(runs, "straight")
    assert set(state(runs, "straight")["digests"]) == {
        "parameters",
        "optimizer",
        "reference",
        "base",
    }


def greedy(runs: Path, name: str) -> tuple[float, float]:
    """Before and after."""
    lines = (runs / name / "lora" / "evaluations.jsonl").read_text().splitlines()
    first, last = (json.loads(line)["overall"]["greedy"]["mean"] for line in lines)
    return first, last


def test_a_run_learns_and_adapters_are_all_that_changed(runs: Path) -> None:
    first, last = greedy(runs, "straight")
    assert last > first
    shipped = load_file(resolve_model("tiny-arithmetic") / "model.safetensors")
    policy = load_file(checkpoint(runs, "straight") / "policy" / "model.safetensors")
    changed = {name for name, weight in policy.items() if not torch.equal(weight, shipped[name])}
    assert changed == {name for name in shipped if "_proj" in name}


def test_one_step_behind_each_merged_version_is_proved_before_it_is_sampled_from(
    runs: Path,
) -> None:
    lines = (runs / "behind" / "lora" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["policy_version"] for row in rows] == [0, 0, 1, 2, 3]
    *gaps, last = [row["ahead"]["sampler_gap"] for row in rows]
    # The adapter has moved each version by far more than engine and learner differ on it.
    assert max(gaps) < 1e-5
    assert last is None
    assert max(row["mismatch_kl"] for row in rows) > 1e-3
    before, after = greedy(runs, "behind")
    assert after > before
