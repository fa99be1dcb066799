"""Estimates against hand values, an enumeration, and what an interval must keep to."""

import itertools
import math
import warnings
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.estimates import Estimate, fraction_estimate, mean_estimate, pass_at_k

PROPERTY = settings(deadline=None, derandomize=True)


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (4, 1, 1, 1 / 4),
        (4, 1, 2, 1 / 2),  # 1 - C(3,2)/C(4,2) = 1 - 3/6
        (5, 2, 2, 7 / 10),  # 1 - C(3,2)/C(5,2) = 1 - 3/10
        (4, 2, 3, 1.0),  # three of four: at least one is right
        (4, 0, 4, 0.0),
        (4, 4, 1, 1.0),
    ],
)
def test_pass_at_k_matches_hand_values(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(expected)


@given(n=st.integers(1, 8), data=st.data())
@PROPERTY
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_completion(
    n: int, data: st.DataObject
) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(fmean(any(subset) for subset in subsets))


def test_pass_at_k_survives_thousands_of_samples() -> None:
    # 1 - prod_{i<1000} (9000 - i) / (10000 - i), in logarithms
    log_miss = sum(math.log((9000 - i) / (10_000 - i)) for i in range(1000))
    assert pass_at_k(10_000, 1000, 1000) == pytest.approx(1 - math.exp(log_miss))
    assert pass_at_k(10_000, 1, 1000) == pytest.approx(0.1)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 5, 1), (4, 1, 0), (4, -1, 1)])
def test_pass_at_k_refuses_counts_that_cannot_be(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"n={n}, c={c}, k={k}"):
        pass_at_k(n, c, k)


def test_a_fraction_has_wilsons_interval() -> None:
    # z = 1.959964, n = 10, p = 0.3: centre (p + z^2/2n) / (1 + z^2/n) = 0.355507
    # half-width z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n) = 0.247720
    estimate = fraction_estimate([True] * 3 + [False] * 7)
    assert estimate.mean == pytest.approx(0.3)
    assert (estimate.low, estimate.high) == pytest.approx((0.107791, 0.603219), abs=1e-5)


def test_a_mean_has_the_spread_of_its_problems_as_interval() -> None:
    # The bootstrap of a mean is near mean -+ 1.96 * (population deviation) / sqrt(problems).
    values = np.random.default_rng(1).integers(0, 5, size=400) / 4
    estimate = mean_estimate(values.tolist())
    margin = 1.96 * values.std() / 20
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - margin, abs=0.1 * margin)
    assert estimate.high == pytest.approx(values.mean() + margin, abs=0.1 * margin)


def test_equal_values_always_give_equal_intervals() -> None:
    values = np.random.default_rng(2).random(50).tolist()  # no two resamples have the same mean
    assert mean_estimate(values) == mean_estimate(values)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("count", [1, 2, 64])
def test_equal_values_fall_back_to_wilson_without_a_warning(share: float, count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate = mean_estimate([share] * count)
    assert estimate == fraction_estimate([share == 1.0] * count)
    assert estimate.high > estimate.low


def test_an_equal_share_between_two_counts_takes_the_outer_ends() -> None:
    # five problems at one half: between two and three solved of five
    estimate = mean_estimate([0.5] * 5)
    assert estimate.low == fraction_estimate([True] * 2 + [False] * 3).low
    assert estimate.high == fraction_estimate([True] * 3 + [False] * 2).high


def test_an_equal_share_that_is_a_count_takes_that_count() -> None:
    share = 1 - 0.9  # a hair below 0.1: 10 problems are one hit, not zero to one
    expected = fraction_estimate([True] + [False] * 9)
    estimate = mean_estimate([share] * 10)
    assert (estimate.low, estimate.high) == (expected.low, expected.high)


@given(values=st.lists(st.integers(0, 4).map(lambda hits: hits / 4), min_size=1, max_size=40))
@PROPERTY
def test_intervals_stay_in_range_and_hold_their_mean(values: list[float]) -> None:
    estimate = mean_estimate(values)
    assert 0.0 <= estimate.low <= estimate.mean <= estimate.high <= 1.0
    assert estimate.mean == pytest.approx(fmean(values))


def test_an_interval_that_misses_its_mean_is_refused() -> None:
    with pytest.raises(ValueError, match="misses"):
        Estimate(mean=0.5, low=0.6, high=0.7)


def test_an_estimate_reads_as_mean_and_interval() -> None:
    assert str(Estimate(mean=0.5, low=0.25, high=0.75)) == "0.500 [0.250, 0.750]"
