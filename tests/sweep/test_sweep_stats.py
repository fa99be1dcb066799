"""Statistics of paired trials: by hand, by simulation, and what they refuse to say."""

import math

import numpy as np
import pytest
from scipy import stats

from rlreason.errors import DataError
from rlreason.sweep.stats import (
    Effect,
    area,
    first_reach,
    holm,
    interquartile_mean,
    largest_contributor,
    paired_difference,
    paired_effect,
    restricted,
    seed_effect,
    verdict,
)


def simulated(
    chance: np.random.Generator,
    *,
    seeds: int,
    problems: int,
    effect: float = 0.0,
    seed_sd: float = 0.05,
    problem_sd: float = 0.2,
    pools: int = 2,
) -> dict[str, np.ndarray]:
    """Differences: an effect, something of each seed, of each problem, and noise."""
    of_seed = chance.normal(0, seed_sd, (seeds, 1))
    return {
        f"pool{index}": effect
        + of_seed
        + chance.normal(0, problem_sd, (1, problems))
        + chance.normal(0, 0.2, (seeds, problems))
        for index in range(pools)
    }


def test_the_mean_counts_pools_equally() -> None:
    # pool a: one problem, +1 for both seeds; pool b: four problems, 0 -> (1 + 0) / 2.
    effect = paired_effect({"a": np.ones((2, 1)), "b": np.zeros((2, 4))})
    assert effect.mean == pytest.approx(0.5)


def test_with_one_problem_the_interval_is_students_over_seeds() -> None:
    # Resampling 4 seeds has the variance s^2 (S-1)/S / S; times S/(S-1) that is s^2 / S.
    values = np.array([0.1, 0.3, 0.2, 0.6])
    effect = paired_effect({"a": values[:, None]})
    error = values.std(ddof=1) / 2  # 0.2160 / 2 = 0.1080
    half = stats.t(3).ppf(0.975) * error  # 3.182 * 0.1080 = 0.3437
    assert effect.mean == pytest.approx(0.3)
    assert effect.high - effect.mean == pytest.approx(half, rel=0.05)
    assert effect.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)
    exact = seed_effect(list(values))
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (exact.low, exact.high) == pytest.approx((interval.low, interval.high))


def test_few_problems_widen_the_interval_though_seeds_agree() -> None:
    chance = np.random.default_rng(0)
    spread = chance.normal(0, 0.3, (1, 200))
    few = paired_effect({"a": np.repeat(spread[:, :8], 5, axis=0)})
    many = paired_effect({"a": np.repeat(spread, 5, axis=0)})
    assert few.high - few.low > 2 * (many.high - many.low) > 0


@pytest.mark.parametrize(("seeds", "problem_sd"), [(3, 0.05), (5, 0.3)])
def test_95_percent_intervals_cover_the_truth(seeds: int, problem_sd: float) -> None:
    chance = np.random.default_rng(7)
    effects = [
        paired_effect(
            simulated(chance, seeds=seeds, problems=20, effect=0.1, problem_sd=problem_sd)
        )
        for _ in range(150)
    ]
    covered = np.mean([effect.low <= 0.1 <= effect.high for effect in effects])
    assert covered >= 0.92  # 95 % less two standard errors of 150 trials would be 0.914


def test_a_planted_effect_is_found_and_none_is_declared_where_none_is() -> None:
    chance = np.random.default_rng(3)
    planted = [
        paired_effect(simulated(chance, seeds=5, problems=64, effect=0.2, seed_sd=0.03))
        for _ in range(20)
    ]
    assert sum(verdict(effect, effect.p) == "better" for effect in planted) >= 19
    nothing = [paired_effect(simulated(chance, seeds=5, problems=64)) for _ in range(60)]
    declared = sum(verdict(effect, effect.p) in ("better", "worse") for effect in nothing)
    assert declared <= 6  # 5 % of 60 is 3


def test_the_order_of_seeds_changes_nothing() -> None:
    data = simulated(np.random.default_rng(1), seeds=5, problems=12)
    order = [3, 0, 4, 2, 1]
    shuffled = {pool: values[order] for pool, values in data.items()}
    one, other = paired_effect(data), paired_effect(shuffled)
    assert (one.low, one.high, one.p) == pytest.approx((other.low, other.high, other.p), abs=1e-12)


def test_pairing_takes_out_what_both_sides_share() -> None:
    chance = np.random.default_rng(5)
    shared = chance.random((5, 40))
    sides = {"a": shared + 0.05 + chance.normal(0, 0.01, (5, 40))}, {"a": shared}
    effect = paired_effect(paired_difference(*sides))
    assert not effect.holds_zero
    assert effect.high - effect.low < 0.02


def test_data_that_are_not_paired_are_refused() -> None:
    with pytest.raises(DataError, match=r"not paired.*\(3, 4\).*\(2, 4\)"):
        paired_difference({"a": np.zeros((3, 4))}, {"a": np.zeros((2, 4))})
    with pytest.raises(DataError, match="not paired"):
        paired_difference({"a": np.zeros((3, 4))}, {"b": np.zeros((3, 4))})


def test_no_winner_with_two_seeds_however_large_the_difference() -> None:
    chance = np.random.default_rng(2)
    effect = paired_effect(simulated(chance, seeds=2, problems=500, effect=5.0))
    assert verdict(effect, 0.0) == "too few seeds"
    single = paired_effect({"a": np.ones((1, 10))})
    assert (single.p, single.low) == (1.0, -math.inf)
    assert verdict(single, 0.0) == "too few seeds"


def test_a_verdict_needs_the_interval_and_the_corrected_p() -> None:
    def effect(low: float, high: float) -> Effect:
        return Effect(mean=(low + high) / 2, low=low, high=high, p=0.01, num_seeds=5)

    assert verdict(effect(-0.01, 0.3), 0.001) == "not shown"
    assert verdict(effect(0.01, 0.3), 0.06) == "not shown"
    assert verdict(effect(0.01, 0.3), 0.04) == "better"
    assert verdict(effect(-0.3, -0.01), 0.04) == "worse"


def test_equal_runs_differ_by_nothing() -> None:
    effect = paired_effect({"a": np.zeros((5, 4))})
    assert (effect.mean, effect.p, effect.holds_zero) == (0.0, 1.0, True)


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .2: times 4, 3, 2, 1 -> .04 .06 .06 .2; the third is .06, not less than
    # the second.
    assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_interquartile_mean_by_hand() -> None:
    # Accuracies 0 .25 .5 1 (two seeds x two pools): the middle half is .25 and .5.
    scores = {"a": np.array([[0.0, 0.0], [1.0, 1.0]]), "b": np.array([[0.0, 0.5], [0.5, 0.5]])}
    assert interquartile_mean(scores) == pytest.approx(0.375)


def test_the_pool_that_contributes_most_does_so_in_the_direction_of_the_whole() -> None:
    up = {"a": np.full((3, 2), 0.5), "b": np.full((3, 2), -0.6), "c": np.full((3, 2), 0.3)}
    assert largest_contributor(up) == "a"
    assert largest_contributor({pool: -values for pool, values in up.items()}) == "a"
    assert largest_contributor({"a": np.ones((3, 2))}) is None


def test_area_and_threshold_by_hand() -> None:
    # Trapezoids: (0 + .4) / 2 * 10 + (.4 + .8) / 2 * 30 = 20; over 40 steps that is .5.
    curve, at = np.array([0.0, 0.4, 0.8]), (0, 10, 40)
    assert area(curve, at) == pytest.approx(0.5)
    assert first_reach(curve, at, 0.4) == 10
    assert first_reach(curve, at, 0.81) is None
    assert (restricted(None, 40), restricted(50, 40), restricted(10, 40)) == (40, 40, 10)
