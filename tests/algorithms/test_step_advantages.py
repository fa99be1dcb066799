"""Advantages that look beyond one group, by hand. What all keep: test_every_advantage.py."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from rlreason.algorithms.advantages import (
    ADVANTAGES,
    accepted,
    batch_normalized,
    best_of_group,
    gdpo,
    group_normalized,
    reinforce_pp,
    reinforce_pp_baseline,
    remax,
    reward_table,
)
from rlreason.algorithms.advantages.reward_table import RewardTable
from rlreason.config import AlgorithmSection
from rlreason.config.algorithm import AdvantageName
from rlreason.errors import DataError, ShapeError
from rlreason.types import Problem, Rollout, RolloutGroup, Score

SCALED = {
    "batch_normalized": batch_normalized,
    "reinforce_pp": reinforce_pp,
    "reinforce_pp_baseline": reinforce_pp_baseline,
}


def table(rewards: list[list[float]]) -> tuple[Tensor, Tensor]:
    values = torch.tensor(rewards, dtype=torch.float64)
    return values, torch.ones_like(values, dtype=torch.bool)


def test_the_configuration_names_exactly_the_advantages_that_there_are() -> None:
    assert set(get_args(AdvantageName)) == set(ADVANTAGES)


def test_scaled_by_the_step_by_hand() -> None:
    # rewards 0 2 | 0 0: all have mean 0.5 and sample std 1; deviations from the group are
    # -1 1 | 0 0, whose sample std is sqrt(2 / 3).
    values, counted = table([[0.0, 2.0], [0.0, 0.0]])
    std = math.sqrt(2 / 3)
    expected = {
        "batch_normalized": [[-1.0, 1.0], [0.0, 0.0]],
        "reinforce_pp": [[-0.5, 1.5], [-0.5, -0.5]],
        "reinforce_pp_baseline": [[-1 / std, 1 / std], [0.0, 0.0]],
    }
    for name, function in SCALED.items():
        torch.testing.assert_close(
            function(values, counted), torch.tensor(expected[name]).double(), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("name", ["batch_normalized", "reinforce_pp_baseline"])
def test_a_group_of_equal_rewards_has_exactly_no_signal(name: str) -> None:
    got = SCALED[name](*table([[0.1, 0.1, 0.1], [0.3, 0.7, 0.1]]))
    assert got[0].tolist() == [0.0] * 3
    assert got[1].abs().min() > 0


def test_two_rewards_have_a_standard_deviation() -> None:
    # 0 and 2: sample std is the root of 2.
    for function in SCALED.values():
        got = function(*table([[0.0, 2.0]]))[0].tolist()
        assert got == pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)], abs=1e-5)


def test_one_known_reward_in_all_has_nothing_to_be_compared_with() -> None:
    values = torch.tensor([[1.0, 2.0]])
    for function in SCALED.values():
        assert function(values, torch.tensor([[True, False]])).tolist() == [[0.0, 0.0]]


def test_remax_by_hand() -> None:
    # The greedy completion got 1: equal to the first, better than the second. The second group's
    # greedy completion could not be scored.
    values, counted = table([[1.0, 0.0], [1.0, 0.0]])
    got = remax(values, counted, torch.tensor([1.0, math.nan]))
    assert got.tolist() == [[0.0, -1.0], [0.0, 0.0]]
    with pytest.raises(ShapeError, match="one baseline for each group"):
        remax(values, counted, torch.zeros(3))
    with pytest.raises(ShapeError, match="greedy"):
        ADVANTAGES["remax"](RewardTable(values, counted, {}), AlgorithmSection())


def test_gdpo_by_hand() -> None:
    # Part a: 1 0 -> +-0.7071; part b: 0 1 and then weight 2 -> -+1.4142; the sum is -+0.7071. The
    # second group is equal in both parts. Four sums -0.7071 0.7071 0 0: sample std 0.57735.
    parts = {
        "a": torch.tensor([[1.0, 0.0], [5.0, 5.0]]),
        "b": torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
        "unused": torch.full((2, 2), math.nan),
    }
    counted = torch.ones(2, 2, dtype=torch.bool)
    got = gdpo(parts, counted, {"a": 1.0, "b": 2.0})
    side = math.sqrt(1 / 2) / math.sqrt(1 / 3)
    assert got.tolist()[0] == pytest.approx([-side, side], abs=1e-5)
    assert got.tolist()[1] == [0.0, 0.0]


def test_gdpo_leaves_a_group_without_signal_exactly_at_zero() -> None:
    # The three sums of the other group add up to 1e-16 and not to 0; divided by a small standard
    # deviation that would be a signal.
    parts = {"a": torch.tensor([[0.1, 0.7, 0.3], [0.2, 0.2, 0.2]], dtype=torch.float64)}
    counted = torch.ones(2, 3, dtype=torch.bool)
    total = group_normalized(parts["a"], counted)
    assert reinforce_pp(total, counted)[1].abs().min() > 0
    assert gdpo(parts, counted, {"a": 1.0})[1].tolist() == [0.0] * 3


def test_gdpo_tells_apart_what_the_sum_does_not() -> None:
    # (1, 0) and (0, 1) beside (0, 0): the sum of the rewards is the same, and so is GRPO's
    # advantage. With part b rarer than part a, GDPO values b more.
    a = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    b = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    counted = torch.ones(1, 4, dtype=torch.bool)
    summed = group_normalized(a + b, counted)[0]
    apart = gdpo({"a": a, "b": b}, counted, {"a": 1.0, "b": 1.0})[0]
    assert summed[0] == summed[2]
    assert apart[2] > apart[0] + 0.1


def test_gdpo_without_the_part_says_so() -> None:
    with pytest.raises(ShapeError, match="'b'"):
        gdpo({"a": torch.zeros(1, 2)}, torch.ones(1, 2, dtype=torch.bool), {"b": 1.0})


def test_acceptance_by_hand() -> None:
    values, counted = table([[0.2, 1.0, 1.0], [0.4, 0.3, 0.1], [0.9, 0.2, 0.5]])
    counted[2, 0] = False
    assert accepted(values, counted, 0.5).tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 1]]
    assert best_of_group(values, counted, 0.5).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert best_of_group(values, counted, -9.0).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


def scored(*rows: tuple[float, dict[str, float], str]) -> tuple[RolloutGroup, tuple[Score, ...]]:
    rollout = Rollout(
        prompt_ids=(1,),
        completion_ids=(2,),
        completion="x",
        rollout_logprobs=(-0.1,),
        finish_reason="stop",
        policy_version=0,
    )
    problem = Problem(id="7", pool="pool", prompt="p")
    group = RolloutGroup(problem=problem, slot=0, rollouts=(rollout,) * len(rows))
    scores = tuple(Score(value=v, parts=parts, outcome=outcome) for v, parts, outcome in rows)
    return group, scores


def test_the_table_holds_rewards_costs_parts_and_baselines() -> None:
    pair = scored((1.0, {"a": 0.5}, "ok"), (0.0, {}, "timeout"), (9.0, {"a": -7.0}, "infra"))
    got = reward_table([pair], parts=("a",), costs=[[0.1, 0.0, 0.0]], baseline=[0.5])
    assert got.rewards.tolist() == [[0.9, 0.0, 9.0]]  # to the last digit of a float64
    assert got.counted.tolist() == [[True, True, False]]
    # The timeout takes the lowest known of its group; what a scorer fault left is not known.
    assert got.parts["a"].tolist() == [[0.5, 0.5, -7.0]]
    assert got.baseline is not None
    assert got.baseline.tolist() == [0.5]
    for tensor in (got.rewards, got.baseline, *got.parts.values()):
        assert tensor.dtype == torch.float64  # the sums of a step in float32 would lose digits
    bare = reward_table([pair])
    assert bare.baseline is None
    assert bare.rewards.dtype == torch.float64


def test_a_group_that_could_not_be_scored_at_all_has_parts_of_zero() -> None:
    got = reward_table([scored((0.0, {}, "infra"), (0.0, {}, "infra"))], parts=("a",))
    assert got.parts["a"].tolist() == [[0.0, 0.0]]
    assert not got.counted.any()


def test_a_part_that_a_full_score_lacks_is_an_error_that_names_the_problem() -> None:
    with pytest.raises(DataError, match=r"pool/7.*'b'.*\['a'\]"):
        reward_table([scored((1.0, {"a": 0.5}, "ok"))], parts=("b",))
