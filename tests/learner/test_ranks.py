"""Two learner ranks over gloo against one: same gradient, same state, in either direction."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
STAGES = [0, 1, 2, 3] if os.environ.get("RLREASON_SLOW") else [0, 3]
"""DeepSpeed's stages 1 and 2 share their code with one of these; RLREASON_SLOW=1 runs them too."""


def train(folder: Path, *, ranks: int, **job: Any) -> Path:
    """One update at every stage from a process per rank; the folder with what they wrote."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE)))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    whole = {"stages": STAGES, "budget": 256, "count": 5} | job
    whole |= {"ranks": ranks, "folder": str(folder / "out"), "meeting": str(folder / "meeting")}
    processes = [
        subprocess.Popen(
            [sys.executable, HERE / "one_rank.py", json.dumps(whole | {"rank": rank})],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ranks)
    ]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * ranks, "\n".join(outputs)
    return folder / "out"


def facts(folder: Path, stage: int) -> dict[str, Any]:
    return json.loads((folder / f"zero{stage}" / "facts.json").read_text())


def relative_gap(left: Path, right: Path) -> float:
    mine, theirs = load_file(left), load_file(right)
    assert mine.keys() == theirs.keys()
    squares = sum(((mine[name] - theirs[name]) ** 2).sum() for name in mine)
    return math.sqrt(squares / sum((theirs[name] ** 2).sum() for name in theirs))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("one"), ranks=1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("two"), ranks=2)


@pytest.mark.parametrize("stage", STAGES)
def test_the_gradient_does_not_depend_on_the_number_of_ranks(
    one: Path, two: Path, stage: int
) -> None:
    # AdamW's first moment after one update is 0.1 x the clipped gradient.
    alone, together = (
        load_file(folder / f"zero{stage}" / "learner" / "optimizer-00000.safetensors")
        for folder in (one, two)
    )
    assert alone.keys() == together.keys()
    moments = [name for name in alone if name.endswith("exp_avg")]
    gap = sum(((alone[name] - together[name]) ** 2).sum() for name in moments)
    assert gap < 1e-12 * sum((alone[name] ** 2).sum() for name in moments)
    for name in ("loss", "grad_norm", "entropy", "num_tokens", "skipped"):
        assert facts(two, stage)[name] == pytest.approx(facts(one, stage)[name], rel=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_the_policy_after_the_update_is_the_same(one: Path, two: Path, stage: int) -> None:
    names = (f"zero{stage}", "weights.safetensors")
    assert relative_gap(two.joinpath(*names), one.joinpath(*names)) < 1e-6
    exported = load_file(two / f"zero{stage}" / "policy" / "model.safetensors")
    gathered = load_file(two.joinpath(*names))
    assert all(torch.equal(exported[name], gathered[name]) for name in exported)


def test_ranks_without_rows_take_part_and_add_nothing(one: Path, tmp_path: Path) -> None:
    # Five sequences in micro-batches of one: the counts of two ranks differ, so one is filled up.
    together = train(tmp_path, ranks=2, budget=1, stages=[3])
    assert facts(together, 3)["grad_norm"] == pytest.approx(facts(one, 0)["grad_norm"], rel=1e-5)
    assert facts(together, 3)["num_tokens"] == facts(one, 0)["num_tokens"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_checkpoint_continues_on_another_number_of_ranks(
    one: Path, two: Path, tmp_path: Path, ranks: int
) -> None:
    saved, stages = (two, [0, 3]) if ranks == 1 else (one, [0, 3])
    resumed = train(tmp_path, ranks=ranks, load=str(saved), stages=stages)
    for stage in stages:
        # To the bit: what was saved is what was loaded, at whatever number of ranks.
        assert facts(resumed, stage)["before"] == facts(saved, stage)["after"]
    straight = train(tmp_path / "straight", ranks=3 - ranks, load=str(saved), stages=[0])
    assert facts(resumed, 0)["loss"] == pytest.approx(facts(straight, 0)["loss"], rel=1e-5)
    assert facts(resumed, 3)["loss"] == pytest.approx(facts(straight, 0)["loss"], rel=1e-5)
