"""Advantages against hand arithmetic, a scalar reference, and their invariants."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlreason.algorithms.advantages import centered, group_normalized, leave_one_out
from rlreason.errors import ShapeError

FUNCTIONS = {
    "group_normalized": group_normalized,
    "centered": centered,
    "leave_one_out": leave_one_out,
}
REWARDS = st.lists(st.sampled_from([0.0, 0.1, 0.3, 1.0, -1.5, 3.0]), min_size=2, max_size=12)


def advantages_of(
    name: str, rewards: list[float], counted: list[bool] | None = None
) -> list[float]:
    mask = torch.tensor([counted or [True] * len(rewards)])
    return FUNCTIONS[name](torch.tensor([rewards], dtype=torch.float64), mask)[0].tolist()


def reference(name: str, rewards: list[float]) -> list[float]:
    """The formula again with the statistics module, sharing no code with the implementation."""
    if name == "leave_one_out":
        others = [rewards[:i] + rewards[i + 1 :] for i in range(len(rewards))]
        return [r - statistics.fmean(rest) for r, rest in zip(rewards, others, strict=True)]
    mean = statistics.fmean(rewards)
    scale = statistics.stdev(rewards) + 1e-6 if name == "group_normalized" else 1.0
    return [(reward - mean) / scale for reward in rewards]


def test_group_normalized_gives_the_published_vector() -> None:
    # DUMP's knights-and-knaves rewards; mean 0.75, sample std 1.997...
    rewards = [3, 3, -0.5, -0.5, -0.5, -1, -3, 3]
    expected = [1.1265, 1.1265, -0.4121, -0.4121, -0.4121, -0.632, -1.5112, 1.1265]
    advantages = advantages_of("group_normalized", [float(reward) for reward in rewards])
    assert advantages == pytest.approx(expected, abs=1e-4)
    assert statistics.fmean(map(abs, advantages)) == pytest.approx(0.8449, abs=1e-4)


def test_centered_by_hand() -> None:
    # mean of 1, 0, 0, 1, 1 is 0.6
    assert advantages_of("centered", [1, 0, 0, 1, 1]) == pytest.approx([0.4, -0.6, -0.6, 0.4, 0.4])


def test_leave_one_out_by_hand() -> None:
    # 3 against the mean of 0 and 0; each 0 against the mean of 3 and 0
    assert advantages_of("leave_one_out", [3, 0, 0]) == pytest.approx([3.0, -1.5, -1.5])


@pytest.mark.parametrize("name", FUNCTIONS)
@given(rewards=REWARDS)
def test_matches_the_scalar_reference(name: str, rewards: list[float]) -> None:
    if len(set(rewards)) > 1:
        assert advantages_of(name, rewards) == pytest.approx(reference(name, rewards), abs=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(value=st.floats(-1e6, 1e6), size=st.integers(2, 16))
def test_equal_rewards_are_exactly_no_signal(name: str, value: float, size: int) -> None:
    # The mean of equal floats may differ from them by a rounding; normalisation would blow it up.
    assert advantages_of(name, [value] * size) == [0.0] * size


@pytest.mark.parametrize("name", FUNCTIONS)
def test_equal_rewards_are_no_signal_beside_an_unknown_one_or_another_group(name: str) -> None:
    # The mean of three 0.1 is not 0.1. Neither what is masked nor a lower group may hide that.
    rewards = torch.tensor([[0.1, 0.1, 0.1, 7.0], [-2.0, 0.0, 1.0, 3.0]], dtype=torch.float64)
    counted = torch.ones_like(rewards, dtype=torch.bool)
    counted[0, 3] = False
    got = FUNCTIONS[name](rewards, counted)
    assert got[0].tolist() == [0.0] * 4
    assert got[1].abs().max() > 0


@pytest.mark.parametrize("name", FUNCTIONS)
@given(rewards=REWARDS, shift=st.sampled_from([-8.0, 0.5, 16.0]))
def test_a_shift_of_all_rewards_changes_nothing(
    name: str, rewards: list[float], shift: float
) -> None:
    shifted = advantages_of(name, [reward + shift for reward in rewards])
    assert shifted == pytest.approx(advantages_of(name, rewards), abs=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(rewards=REWARDS)
def test_reversing_a_group_reverses_its_advantages(name: str, rewards: list[float]) -> None:
    reversed_advantages = advantages_of(name, rewards[::-1])
    assert reversed_advantages == pytest.approx(advantages_of(name, rewards)[::-1], abs=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_uncounted_rewards_reach_no_statistic(name: str, garbage: float) -> None:
    counted = [True, False, True, True]
    advantages = advantages_of(name, [1.0, garbage, 0.0, 0.5], counted)
    left = advantages_of(name, [1.0, 0.0, 0.5])
    assert advantages == pytest.approx([left[0], 0.0, left[1], left[2]])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_counted_reward_has_nothing_to_be_compared_with(name: str) -> None:
    assert advantages_of(name, [5.0, 1.0, 2.0], [True, False, False]) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_groups_do_not_see_each_other(name: str) -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0], [9.0, 7.0, 8.0]], dtype=torch.float64)
    both = FUNCTIONS[name](rewards, torch.ones_like(rewards, dtype=torch.bool))
    assert both[0].tolist() == pytest.approx(advantages_of(name, [1.0, 0.0, 0.0]))
    assert both[1].tolist() == pytest.approx(advantages_of(name, [9.0, 7.0, 8.0]))


@pytest.mark.parametrize("function", FUNCTIONS.values())
@pytest.mark.parametrize("shapes", [((4,), (4,)), ((2, 3), (2, 4))])
def test_other_shapes_are_refused(function, shapes) -> None:
    rewards: Tensor = torch.zeros(shapes[0])
    with pytest.raises(ShapeError, match="one shape"):
        function(rewards, torch.ones(shapes[1], dtype=torch.bool))
