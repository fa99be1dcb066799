"""Two learner ranks over gloo against one: same gradient, same state, in either direction."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_deepspeed_learner import relative_gap
from test_objectives import CASES, make_groups, plain_gradients
from warm_start import WarmProcess

from rlreason.config import AlgorithmSection

HERE = Path(__file__).parent
STAGES = [0, 1, 2, 3]
RESUMED = [0, 3]


def work(warm: WarmProcess, folder: Path, *, ranks: int, jobs: dict[str, dict[str, Any]]) -> Path:
    """Have a process per rank do ``jobs``; the folder with a folder of results for each."""
    usual = {"kind": "update", "stages": STAGES, "budget": 256, "updates": 1, "count": 5}
    usual["sends"] = False
    listed = [usual | job | {"folder": str(folder / name)} for name, job in jobs.items()]
    order = {"ranks": ranks, "meeting": str(folder / "meeting"), "jobs": listed}
    started = [
        warm.start(HERE / "one_rank.py", json.dumps(order | {"rank": rank}))
        for rank in range(ranks)
    ]
    for rank in started:
        code, output = rank.finish()
        assert code == 0, output
    return folder


def facts(folder: Path, stage: int) -> dict[str, Any]:
    return json.loads((folder / f"zero{stage}" / "facts.json").read_text())


def gap(left: Path, right: Path) -> float:
    mine, theirs = load_file(left), load_file(right)
    assert mine.keys() == theirs.keys()
    squares = sum(((mine[name] - theirs[name]) ** 2).sum() for name in mine)
    return math.sqrt(squares / sum((theirs[name] ** 2).sum() for name in theirs))


@pytest.fixture(scope="module")
def one(warm: WarmProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    jobs = {"trained": {}, "twice": {"updates": 2, "count": 1, "stages": [0]}}
    return work(warm, tmp_path_factory.mktemp("one"), ranks=1, jobs=jobs)


@pytest.fixture(scope="module")
def two(warm: WarmProcess, one: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    load = {"stages": RESUMED}
    jobs = {
        "trained": {},
        "gradients": {"kind": "gradients", "budget": 50},
        "scarce": {"budget": 1, "stages": [3]},
        "twice": {"updates": 2, "count": 1, "stages": [3], "sends": True},
        "loaded one": load | {"load": str(one / "trained")},
        "loaded two": load | {"load": str(folder / "trained")},
    }
    return work(warm, folder, ranks=2, jobs=jobs)


@pytest.fixture(scope="module")
def one_again(
    warm: WarmProcess, one: Path, two: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    jobs = {
        "loaded one": {"stages": RESUMED, "load": str(one / "trained")},
        "loaded two": {"stages": RESUMED, "load": str(two / "trained")},
    }
    return work(warm, tmp_path_factory.mktemp("again"), ranks=1, jobs=jobs)


@pytest.mark.parametrize("stage", STAGES)
def test_the_gradient_does_not_depend_on_the_number_of_ranks(
    one: Path, two: Path, stage: int
) -> None:
    # AdamW's first moment after one update is 0.1 x the clipped gradient.
    file = f"trained/zero{stage}/learner/optimizer-00000.safetensors"
    alone, together = load_file(one / file), load_file(two / file)
    assert alone.keys() == together.keys()
    moments = [name for name in alone if name.endswith("exp_avg")]
    squares = sum(((alone[name] - together[name]) ** 2).sum() for name in moments)
    assert squares < 1e-12 * sum((alone[name] ** 2).sum() for name in moments)
    for name in ("loss", "grad_norm", "entropy", "num_tokens", "skipped"):
        mine, theirs = facts(two / "trained", stage)[name], facts(one / "trained", stage)[name]
        assert mine == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_the_policy_after_the_update_is_the_same(one: Path, two: Path, stage: int) -> None:
    file = f"trained/zero{stage}/weights.safetensors"
    assert gap(two / file, one / file) < 1e-6
    exported = load_file(two / f"trained/zero{stage}/policy/model.safetensors")
    gathered = load_file(two / file)
    assert all(torch.equal(exported[name], gathered[name]) for name in exported)


@pytest.mark.parametrize("stage", STAGES)
def test_a_probe_is_judged_alike_and_an_update_follows_it(one: Path, two: Path, stage: int) -> None:
    # One token is off by 2e-5 nats for each loss token: that is the mean, whoever computes it.
    for folder in (one, two):
        told = facts(folder / "trained", stage)
        assert told["gap"] == pytest.approx(2e-5, rel=0.05)
        assert "step 7" in told["refusal"]


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_loss_and_aggregation_has_the_gradient_of_one_rank(two: Path, case: str) -> None:
    expected = plain_gradients(make_groups(), CASES[case], True)
    assert relative_gap(load_file(two / "gradients" / f"{case}.safetensors"), expected) < 2e-6


def test_the_cases_are_every_loss_and_aggregation() -> None:
    fields = AlgorithmSection.model_fields
    for name, left_out in (("loss", {"distillation"}), ("aggregation", set())):
        known = set(fields[name].annotation.__args__)
        assert {getattr(options, name) for options in CASES.values()} == known - left_out


@pytest.mark.parametrize("weight_sync", ["cuda_ipc", "nccl"])
def test_weights_spread_over_ranks_are_sent_whole(two: Path, weight_sync: str) -> None:
    gathered = load_file(two / "twice" / "zero3" / "weights.safetensors")
    sent = load_file(two / "twice" / "zero3" / f"{weight_sync}.safetensors")
    assert sent.keys() == gathered.keys()
    assert all(torch.equal(sent[name], gathered[name]) for name in gathered)


def test_ranks_without_rows_take_part_and_add_nothing(one: Path, two: Path) -> None:
    # Five sequences in micro-batches of one: the counts of two ranks differ, so one is filled up.
    for name in ("grad_norm", "num_tokens"):
        expected = facts(one / "trained", 0)[name]
        assert facts(two / "scarce", 3)[name] == pytest.approx(expected, rel=1e-5)


def test_later_updates_of_a_step_are_the_same(one: Path, two: Path) -> None:
    # One sequence: a rank without any goes forward as often as the other.
    for name in ("loss", "grad_norm", "clip_frac"):
        expected = facts(one / "twice", 0)[name]
        assert facts(two / "twice", 3)[name] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("stage", RESUMED)
@pytest.mark.parametrize("saved_by", ["one", "two"])
def test_a_checkpoint_continues_on_another_number_of_ranks(
    one: Path, two: Path, one_again: Path, saved_by: str, stage: int
) -> None:
    saved = facts((one if saved_by == "one" else two) / "trained", stage)
    on_one, on_two = (facts(folder / f"loaded {saved_by}", stage) for folder in (one_again, two))
    # To the bit: what was saved is what was loaded, at whatever number of ranks.
    assert on_one["before"] == on_two["before"] == saved["after"]
    assert on_one["loss"] == pytest.approx(on_two["loss"], rel=1e-5)
    assert on_one["grad_norm"] == pytest.approx(on_two["grad_norm"], rel=1e-5)
