"""What the loop adjusts: coefficients reach the learner, and a resumed run continues with them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fake_world import STATS, World, make_run

from rlreason.checkpoint import Checkpointer
from rlreason.config import AlgorithmSection
from rlreason.controls import Controls
from rlreason.journal import Journal
from rlreason.trainer import train
from rlreason.types import Coefficients


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


ADAPTIVE: dict[str, Any] = {
    "kl": 0.5,
    "kl_control": {"target": 0.1, "gain": 1.0},
    "entropy_bonus": 0.02,
    "entropy_control": {"target": 2.0, "change": 0.01, "highest": 0.1},
    "reference_every": 2,
}


def adaptive_world() -> World:
    """Each update measures a KL far above its target and an entropy below it."""
    world = World()
    world.stats = dataclasses.replace(STATS, kl=0.3, entropy=1.0)
    return world


def test_coefficients_move_between_steps_and_reach_learner_and_log(tmp_path: Path) -> None:
    world = adaptive_world()
    train(make_run(world, tmp_path, steps=3, algorithm=ADAPTIVE))
    # KL: error clipped to .2, so times 1.2. Entropy: .01 up.
    kl, entropy = zip(*(given for given in world.coefficients if given), strict=True)
    assert kl == pytest.approx((0.5, 0.6, 0.72))
    assert entropy == pytest.approx((0.02, 0.03, 0.04))
    control = [row["control"] for row in lines(tmp_path)]
    assert [row["kl_coefficient"] for row in control] == pytest.approx([0.5, 0.6, 0.72])
    assert [row["entropy_coefficient"] for row in control] == pytest.approx([0.02, 0.03, 0.04])


def test_the_reference_is_refreshed_after_every_second_step_before_it_is_saved(
    tmp_path: Path,
) -> None:
    world = adaptive_world()
    train(make_run(world, tmp_path, steps=5, algorithm=ADAPTIVE))
    assert [call for call in world.calls if call.startswith(("reference", "save"))] == [
        "reference is 2", "save", "reference is 4", "save", "save",
    ]  # fmt: skip
    versions = [row["control"]["reference_version"] for row in lines(tmp_path)]
    assert versions == [0, 0, 2, 2, 4]


def test_a_resumed_run_goes_on_with_the_coefficients_of_its_checkpoint(tmp_path: Path) -> None:
    straight = adaptive_world()
    train(make_run(straight, tmp_path / "straight", steps=5, algorithm=ADAPTIVE))
    first = adaptive_world()
    train(make_run(first, tmp_path / "again", steps=4, algorithm=ADAPTIVE))
    checkpoint = Checkpointer(tmp_path / "again" / "checkpoints", keep=2).newest()
    assert checkpoint is not None
    second = adaptive_world()
    run = make_run(second, tmp_path / "again", steps=5, start=4, algorithm=ADAPTIVE)
    second.policy_version = 4
    run.controls.load_state_dict(checkpoint.part("controls"))
    train(run)
    assert first.coefficients + second.coefficients == straight.coefficients
    assert [row["control"] for row in lines(tmp_path / "again")] == [
        row["control"] for row in lines(tmp_path / "straight")
    ]


def test_a_skipped_update_moves_nothing() -> None:
    controls = Controls(AlgorithmSection.model_validate(ADAPTIVE))
    before = controls.state_dict()
    controls.observe(dataclasses.replace(STATS, kl=9.0, entropy=9.0, skipped=True))
    controls.observe(None)
    assert controls.state_dict() == before


def test_fixed_coefficients_stay() -> None:
    controls = Controls(AlgorithmSection(kl=0.1, entropy_bonus=0.2))
    controls.observe(dataclasses.replace(STATS, kl=9.0, entropy=9.0))
    assert controls.coefficients == Coefficients(kl=0.1, entropy=0.2)
    assert Controls(AlgorithmSection()).metrics() is None


# Two completions of two tokens at rollout logprobs (-.1, -.2). The reference gives the first the
# same and the second -.35 and -.45, so its k1 is .25 + .25 = .5 nats. Scores 0 and 1.
PENALTY: dict[str, Any] = {"advantage": "centered", "kl": 0.4, "kl_estimator": "k1"}


@pytest.mark.parametrize(("kl_in", "cost"), [("reward_sum", 0.2), ("reward_mean", 0.1)])
def test_a_penalty_comes_off_the_reward_before_advantages(
    kl_in: str, cost: float, tmp_path: Path
) -> None:
    world = World()
    train(make_run(world, tmp_path, steps=1, algorithm=PENALTY | {"kl_in": kl_in}))
    entry = Journal(tmp_path / "steps").read(0)
    assert entry is not None
    group = entry.scored[0]
    assert [score.value for score in group.scores] == [0.0, 1.0]  # the log keeps the reward's word
    assert group.reference_kl == pytest.approx((0.0, 0.5))
    half = (1.0 - cost) / 2
    assert group.advantages == pytest.approx((-half, half))
    assert world.coefficients == [Coefficients(kl=0.0, entropy=0.0)]
    [row] = lines(tmp_path)
    assert row["kl"] == pytest.approx(0.125)  # .5 nats over 4 tokens
    assert row["reward_mean"] == 0.5
    assert "reference" in row["phase_s"]


def test_a_replayed_step_needs_no_reference_and_moves_the_coefficient_as_before(
    tmp_path: Path,
) -> None:
    algorithm = PENALTY | {"kl_in": "reward_sum", "kl_control": {"target": 0.1}}
    train(make_run(World(), tmp_path, steps=1, algorithm=algorithm))
    world = World()
    run = make_run(world, tmp_path, steps=1, algorithm=algorithm)
    train(run)
    assert "reference" not in world.calls
    # measured .125, target .1: error .25 believed as .2, gain .1
    assert run.controls.penalty == pytest.approx(0.4 * 1.02)


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [
        ({"kl_in": "reward_sum", "advantage": "centered"}, "kl_in: nothing to act on while kl = 0"),
        ({"reference_every": 5}, "reference_every: nothing to act on"),
        ({"kl_control": {"target": 0.1}}, "kl_control: nothing to act on"),
        ({"kl": 0.1, "kl_in": "reward_mean"}, "use advantage = centered, or kl_in = loss"),
        (
            {"entropy_bonus": 0.5, "entropy_control": {"target": 1.0}},
            "entropy_bonus = 0.5 is above entropy_control.highest = 0.1",
        ),
    ],
)
def test_settings_without_effect_or_sense_are_refused(algorithm: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AlgorithmSection.model_validate(algorithm)
