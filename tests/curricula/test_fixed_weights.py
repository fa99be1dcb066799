"""Curricula that nothing moves: what their shares are, and which options they refuse."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_groups import facts, passes
from shipped import build

from curricula.fixed_mixture import FixedMixture
from curricula.proportional import Proportional
from curricula.uniform import Uniform

SIZES = {"small": 124, "large": 7473}


def test_uniform_ignores_pool_sizes() -> None:
    assert build(Uniform, {}, facts(SIZES)).weights() == {"small": 0.5, "large": 0.5}


def test_proportional_follows_pool_sizes() -> None:
    weights = build(Proportional, {}, facts({"a": 1, "b": 3, "c": 4})).weights()
    assert weights == {"a": 0.125, "b": 0.375, "c": 0.5}


def test_a_fixed_mixture_follows_the_stated_shares_in_the_order_of_the_recipe() -> None:
    options = {"weights": {"large": 1, "small": 3}}
    weights = build(FixedMixture, options, facts(SIZES)).weights()
    assert list(weights.items()) == [("small", 0.75), ("large", 0.25)]


def test_shares_of_any_size_make_a_mixture() -> None:
    for unit in (1e-308, 1e308):
        options = {"weights": {"small": unit, "large": unit}}
        assert build(FixedMixture, options, facts(SIZES)).weights() == {"small": 0.5, "large": 0.5}


@pytest.mark.parametrize("cls", [Uniform, Proportional])
@given(sizes=st.dictionaries(st.text(min_size=1), st.integers(1, 10**9), min_size=1, max_size=30))
@settings(deadline=None, derandomize=True)
def test_fixed_weights_are_a_distribution_in_the_order_of_the_recipe(
    cls: Any, sizes: dict[str, int]
) -> None:
    weights = build(cls, {}, facts(sizes)).weights()
    assert list(weights) == list(sizes)
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert min(weights.values()) > 0


@pytest.mark.parametrize(
    ("cls", "options"),
    [(Uniform, {}), (Proportional, {}), (FixedMixture, {"weights": {"small": 1, "large": 2}})],
)
def test_observations_do_not_move_fixed_weights(cls: Any, options: dict[str, Any]) -> None:
    curriculum = build(cls, options, facts(SIZES))
    before = curriculum.weights()
    curriculum.observe([passes("small", 4)])
    assert curriculum.weights() == before


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"small": 1}, "weights leaves out 'large'"),
        ({"small": 1, "large": 1, "lrge": 1}, "names 'lrge', but the pools of the recipe are"),
        ({"small": 0, "large": 0}, "0 for every pool"),
        ({"small": -1, "large": 2}, "greater than or equal to 0"),
        ({"small": float("inf"), "large": 2}, "finite"),
    ],
)
def test_shares_that_are_no_mixture_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(FixedMixture, {"weights": weights}, facts(SIZES))
