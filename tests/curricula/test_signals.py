"""The reward spread: by hand, against a plain reading, and what it must not depend on."""

import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_groups import facts, rewarded_group, scored_group

from curricula.signals import absolute_advantages, pass_rate, scaled_rewards, spreads
from rlreason.types import PoolFacts

PROPERTY = settings(deadline=None, derandomize=True)
BINARY = PoolFacts(size=1, reward_bounds=(0.0, 1.0))
VALUES = {0.0: 0.5, 0.25: 0.3, 1.0: 0.2}  # a graded reward: value -> probability


def spread(rewards: list[float], pool: PoolFacts = BINARY) -> float:
    return statistics.fmean(spreads(rewarded_group("a", rewards), pool))


def test_the_spread_of_a_group_worked_by_hand() -> None:
    # Pairs of 1, 1, 0, 0: four of six differ by 1; twice 4 / 6.
    assert spread([1.0, 0.0, 1.0, 0.0]) == pytest.approx(4 / 3)
    # Pairs of 0, .5, 1: .5 + .5 + 1 over three; twice 2 / 3.
    assert spread([1.0, 0.0, 0.5]) == pytest.approx(4 / 3)
    assert spreads(rewarded_group("a", [1.0, 0.0, 0.5]), BINARY) == pytest.approx([1.5, 1.5, 1.0])


@given(rewards=st.lists(st.floats(-5, 5), min_size=2, max_size=9))
@PROPERTY
def test_matches_a_plain_reading_of_the_formula(rewards: list[float]) -> None:
    pool = PoolFacts(size=1, reward_bounds=(-5.0, 5.0))
    expected = [
        2 * sum(abs(x - y) / 10 for j, y in enumerate(rewards) if j != i) / (len(rewards) - 1)
        for i, x in enumerate(rewards)
    ]
    assert spreads(rewarded_group("a", rewards), pool) == pytest.approx(expected, abs=1e-12)


def expected_spread(group_size: int) -> float:
    """Over every group of this size, weighted by its probability."""
    return math.fsum(
        math.prod(VALUES[value] for value in rewards) * spread(list(rewards))
        for rewards in itertools.product(VALUES, repeat=group_size)
    )


def test_the_expected_spread_is_the_same_for_every_group_size() -> None:
    # 2 E|X - X'| = 4 * (.5 * .3 * .25 + .5 * .2 * 1 + .3 * .2 * .75)
    for group_size in (2, 3, 5, 7):
        assert expected_spread(group_size) == pytest.approx(4 * (0.0375 + 0.1 + 0.045))


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("group_size", [2, 8, 16])
def test_the_expected_spread_of_a_binary_reward_is_4p_times_1_minus_p(
    rate: float, group_size: int
) -> None:
    expected = math.fsum(
        math.comb(group_size, passed)
        * rate**passed
        * (1 - rate) ** (group_size - passed)
        * spread([1.0] * passed + [0.0] * (group_size - passed))
        for passed in range(group_size + 1)
    )
    assert expected == pytest.approx(4 * rate * (1 - rate))


def test_bounds_and_advantages_do_not_move_the_spread() -> None:
    wide = PoolFacts(size=1, reward_bounds=(-3.0, 5.0))
    assert spread([5.0, -3.0, -3.0], wide) == pytest.approx(spread([1.0, 0.0, 0.0]))
    normalized = scored_group("a", [9.0, -7.0], rewards=[1.0, 0.0])
    assert spreads(normalized, BINARY) == [2.0, 2.0]


@given(value=st.floats(0, 1), size=st.integers(2, 16))
@PROPERTY
def test_equal_rewards_have_exactly_no_spread(value: float, size: int) -> None:
    assert spreads(rewarded_group("a", [value] * size), BINARY) == [0.0] * size


def test_completions_hidden_by_infra_faults_count_nowhere() -> None:
    group = rewarded_group("a", [1.0, 0.0, 1.0], ["ok", "infra", "timeout"])
    assert spreads(group, BINARY) == [0.0, 0.0]
    assert scaled_rewards(group, BINARY) == [1.0, 1.0]
    assert pass_rate(group, BINARY) == [1.0]
    assert len(absolute_advantages(group)) == 2
    hidden = rewarded_group("a", [1.0, 0.0], ["ok", "infra"])
    assert spreads(hidden, BINARY) == []  # nothing to compare with
    assert pass_rate(rewarded_group("a", [1.0, 0.0], ["infra"] * 2), BINARY) == []


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_bounds_that_are_no_interval_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="bounds low < high"):
        facts(["a"], bounds)
