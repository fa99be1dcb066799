"""What each entry of ADVANTAGES must keep, and a second implementation of each.

By hand: test_advantages.py, test_step_advantages.py.
"""

import math
import statistics
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.algorithms.advantages import ADVANTAGES
from rlreason.algorithms.advantages.reward_table import RewardTable
from rlreason.config import AlgorithmSection

NAMES = pytest.mark.parametrize("name", sorted(ADVANTAGES))
SEED = st.integers(0, 10_000)
FEW = settings(max_examples=12)  # ten entries, seven tests
GROUPS, SIZE, THRESHOLD = 4, 5, 0.3
WEIGHTS = {"a": 1.0, "b": 0.5}
WHOLE_STEP = {"batch_normalized", "reinforce_pp", "reinforce_pp_baseline", "gdpo"}
"""Advantages whose scale or baseline comes from all groups of the step."""


def random_table(seed: int) -> RewardTable:
    """All rewards differ; a tenth of them are unknown, and so is a group's baseline."""
    generator = torch.Generator().manual_seed(seed)
    rewards, a, b = torch.randn(3, GROUPS, SIZE, generator=generator, dtype=torch.float64)
    counted = torch.rand(GROUPS, SIZE, generator=generator) < 0.9
    counted[:, :2] = True
    baseline = torch.randn(GROUPS, generator=generator, dtype=torch.float64)
    baseline[3] = math.nan
    return RewardTable(rewards, counted, {"a": a, "b": b}, baseline)


def advantages(name: str, table: RewardTable, threshold: float = THRESHOLD) -> torch.Tensor:
    options = AlgorithmSection.model_construct(part_weights=WEIGHTS, accept_from=threshold)
    return ADVANTAGES[name](table, options)


def changed(
    table: RewardTable,
    change: Callable[[torch.Tensor], torch.Tensor],
    mask: Callable[[torch.Tensor], torch.Tensor] = lambda counted: counted,
) -> RewardTable:
    """``change`` done to everything that is of the shape of the rewards."""
    parts = {name: change(values) for name, values in table.parts.items()}
    return RewardTable(change(table.rewards), mask(table.counted), parts, table.baseline)


@NAMES
@FEW
@given(seed=SEED)
def test_matches_the_scalar_reference(name: str, seed: int) -> None:
    table = random_table(seed)
    got = advantages(name, table)
    assert got.dtype == torch.float64
    for mine, theirs in zip(got.tolist(), reference(name, table), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-9)


@NAMES
@FEW
@given(seed=SEED)
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_unknown_rewards_reach_nothing_and_get_nothing(
    name: str, seed: int, garbage: float
) -> None:
    table = random_table(seed)
    soiled = changed(table, lambda values: values.masked_fill(~table.counted, garbage))
    got = advantages(name, soiled)
    assert got.tolist() == advantages(name, table).tolist()
    assert torch.all(got[~table.counted] == 0)


@NAMES
@FEW
@given(seed=SEED)
def test_permuting_a_group_permutes_its_advantages(name: str, seed: int) -> None:
    table, order = random_table(seed), [2, 4, 0, 1, 3]
    moved = changed(table, lambda values: values[:, order], lambda counted: counted[:, order])
    torch.testing.assert_close(advantages(name, moved), advantages(name, table)[:, order])


@NAMES
@FEW
@given(seed=SEED)
def test_the_order_of_the_groups_does_not_matter(name: str, seed: int) -> None:
    table, order = random_table(seed), [3, 1, 0, 2]
    moved = changed(table, lambda values: values[order], lambda counted: counted[order])
    assert table.baseline is not None
    moved = moved._replace(baseline=table.baseline[order])
    torch.testing.assert_close(advantages(name, moved), advantages(name, table)[order])


@NAMES
@FEW
@given(seed=SEED, shift=st.floats(-20, 20))
def test_a_shift_of_all_that_is_compared_changes_nothing(
    name: str, seed: int, shift: float
) -> None:
    # Rewards, their parts, the greedy completion's reward and the threshold: one number on all.
    table = random_table(seed)
    moved = changed(table, lambda values: values + shift)
    assert table.baseline is not None
    moved = moved._replace(baseline=table.baseline + shift)
    torch.testing.assert_close(
        advantages(name, moved, THRESHOLD + shift), advantages(name, table), atol=1e-9, rtol=1e-9
    )


@NAMES
@FEW
@given(seed=SEED)
def test_groups_see_each_other_only_where_the_step_is_the_measure(name: str, seed: int) -> None:
    # Rank by rank, half of the groups each: the same numbers for all but the step's own.
    table = random_table(seed)
    assert table.baseline is not None
    halves = []
    for rows in (slice(0, 2), slice(2, 4)):
        half = changed(table, lambda values, r=rows: values[r], lambda counted, r=rows: counted[r])
        halves.append(advantages(name, half._replace(baseline=table.baseline[rows])))
    equal = torch.allclose(torch.cat(halves), advantages(name, table))
    assert equal == (name not in WHOLE_STEP)


@NAMES
def test_equal_rewards_give_no_signal_where_nothing_else_is_compared_with(name: str) -> None:
    same = torch.full((GROUPS, SIZE), 0.1, dtype=torch.float64)  # 0.1 has no exact mean
    table = RewardTable(
        same, torch.ones_like(same, dtype=torch.bool), {"a": same, "b": same}, same[:, 0]
    )
    assert advantages(name, table).tolist() == [[0.0] * SIZE] * GROUPS


def reference(name: str, table: RewardTable) -> list[list[float]]:
    """Each formula again in plain Python, completion by completion."""
    counted = table.counted.tolist()
    rewards = _known(table.rewards, counted)
    if name == "gdpo":
        parts = {part: _known(values, counted) for part, values in table.parts.items()}
        rewards = [
            {i: sum(w * _normal(parts[k][g], i) for k, w in WEIGHTS.items()) for i in rewards[g]}
            for g in range(GROUPS)
        ]
        name = "reinforce_pp"
    baselines = table.baseline.tolist() if table.baseline is not None else []
    return [
        [_one(name, rewards, g, i, baselines[g]) if i in rewards[g] else 0.0 for i in range(SIZE)]
        for g in range(GROUPS)
    ]


def _known(values: torch.Tensor, counted: list[list[bool]]) -> list[dict[int, float]]:
    """For each group: index -> the values that count."""
    return [
        {i: value for i, value in enumerate(row) if mask[i]}
        for row, mask in zip(values.tolist(), counted, strict=True)
    ]


def _normal(group: dict[int, float], i: int) -> float:
    values = list(group.values())
    return (group[i] - statistics.fmean(values)) / (statistics.stdev(values) + 1e-6)


def _one(name: str, rewards: list[dict[int, float]], g: int, i: int, baseline: float) -> float:
    group, reward = rewards[g], rewards[g][i]
    everything = [value for one in rewards for value in one.values()]
    deviation = reward - statistics.fmean(group.values())
    others = [value for index, value in group.items() if index != i]
    deviations = [v - statistics.fmean(one.values()) for one in rewards for v in one.values()]
    scale = statistics.stdev(everything) + 1e-6
    return {
        "group_normalized": lambda: _normal(group, i),
        "centered": lambda: deviation,
        "leave_one_out": lambda: reward - statistics.fmean(others),
        "batch_normalized": lambda: deviation / scale,
        "reinforce_pp": lambda: (reward - statistics.fmean(everything)) / scale,
        "reinforce_pp_baseline": lambda: deviation / (statistics.stdev(deviations) + 1e-6),
        "remax": lambda: 0.0 if math.isnan(baseline) else reward - baseline,
        "accepted": lambda: float(reward >= THRESHOLD),
        "best_of_group": lambda: float(reward >= THRESHOLD and reward == max(group.values())),
    }[name]()
