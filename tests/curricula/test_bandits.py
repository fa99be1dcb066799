"""Learnability, Thompson and Sec: hand arithmetic, an exact reference, and what they forget."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats
from scored_groups import facts, passes, rewarded_group, scored_group
from shipped import build

from curricula.learnability import Learnability
from curricula.sec import Sec
from curricula.shares import chance_to_be_best
from curricula.thompson import Thompson
from rlreason.types import ScoredGroup


def seen(cls: Any, options: dict[str, Any], *groups: ScoredGroup, names: str = "abc") -> Any:
    curriculum = build(cls, options, facts(names))
    curriculum.observe(groups)
    return curriculum


def terms(curriculum: Any, name: str) -> list[float]:
    return [row[name] for row in curriculum.metrics().values()]


def test_learnability_worked_by_hand() -> None:
    groups = [passes("a", 2, 8), passes("a", 4, 8), passes("b", 8, 8)]
    curriculum = seen(Learnability, {"floor": 0.1}, *groups)
    # (1/4 + 1/2 + 1/2) / 3, (1 + 1/2) / 2, and the prior alone
    assert terms(curriculum, "pass_rate") == pytest.approx([5 / 12, 3 / 4, 1 / 2])
    scores = [5 / 12 * 7 / 12, 3 / 16, 1 / 4]
    expected = [0.9 * score / sum(scores) + 0.1 / 3 for score in scores]
    assert list(curriculum.weights().values()) == pytest.approx(expected)


def test_learnability_forgets_what_left_the_window_and_scales_by_the_bounds() -> None:
    curriculum = build(Learnability, {"window": 2, "prior": 1e-9}, facts("ab", (-1.0, 3.0)))
    curriculum.observe([rewarded_group("a", [3.0, 3.0])] * 5 + [rewarded_group("a", [-1.0, 0.0])])
    assert terms(curriculum, "pass_rate") == pytest.approx([(1 + 1 / 8) / 2, 1 / 2])
    curriculum.observe([rewarded_group("a", [-1.0, -1.0], ["infra", "infra"])])
    assert terms(curriculum, "seen") == [6, 0]


def test_a_larger_prior_keeps_the_pass_rate_near_one_half() -> None:
    rates = [
        terms(seen(Learnability, {"prior": prior}, passes("a", 8)), "pass_rate")[0]
        for prior in (0.1, 1.0, 10.0)
    ]
    assert rates == pytest.approx([1.05 / 1.1, 1.5 / 2, 6 / 11])


def test_sec_moves_a_value_towards_the_mean_of_the_step() -> None:
    curriculum = build(Sec, {"rate": 0.5, "temperature": 0.25}, facts("abc"))
    curriculum.observe([scored_group("a", [1.0, -3.0]), scored_group("a", [0.0, 0.0])])
    curriculum.observe([scored_group("a", [2.0, -2.0]), scored_group("b", [1.0, -1.0])])
    assert terms(curriculum, "value") == [1.25, 0.5, 0.0]  # (0 + 1) / 2, then (.5 + 2) / 2
    powers = [math.exp(value / 0.25) for value in (1.25, 0.5, 0.0)]
    expected = [power / sum(powers) for power in powers]
    assert list(curriculum.weights().values()) == pytest.approx(expected)


def test_sec_leaves_pools_alone_that_a_step_did_not_draw_or_could_not_score() -> None:
    curriculum = seen(Sec, {}, scored_group("a", [1.0, -1.0]))
    before = terms(curriculum, "value")
    curriculum.observe([scored_group("a", [0.0, 0.0], ["infra", "infra"])])
    assert terms(curriculum, "value") == before


def test_thompson_keeps_discounted_hits_and_misses() -> None:
    # spreads of 1, 3 and 4 of 8: 2 * 14 / 56, 2 * 30 / 56 and 2 * 32 / 56, at most 1
    curriculum = seen(Thompson, {"discount": 0.5}, passes("a", 1), passes("a", 3), passes("b", 4))
    curriculum.observe([passes("a", 8)])
    state = curriculum.state_dict()["pools"]
    assert state["a"] == pytest.approx([0.75, 1.25])
    assert state["b"] == pytest.approx([0.5, 0.0])
    assert state["c"] == [0.0, 0.0]
    assert terms(curriculum, "learnability") == pytest.approx([1.75 / 4, 1.5 / 2.5, 0.5])


def test_thompson_forgets_a_pool_that_is_left_alone() -> None:
    curriculum = seen(Thompson, {}, *[passes("a", 8)] * 40)
    low = curriculum.weights()["a"]
    for _ in range(150):
        curriculum.observe([])
    assert low < 0.05
    assert curriculum.weights()["a"] == pytest.approx(1 / 3, abs=0.01)


def test_thompson_without_discount_forgets_nothing() -> None:
    curriculum = seen(Thompson, {"discount": 1.0}, passes("a", 8))
    before = curriculum.weights()
    for _ in range(50):
        curriculum.observe([])
    assert curriculum.weights() == before


@pytest.mark.parametrize(
    "evidence",
    [
        [(0, 0), (0, 0), (0, 0)],
        [(9, 2), (4, 4), (0, 12)],
        [(60, 40), (50, 50), (0.3, 0.1), (2, 9)],
        [(5, 5)] * 13,
    ],
)
def test_the_chance_to_be_best_is_near_that_of_the_beta_distributions(
    evidence: list[tuple[float, float]],
) -> None:
    betas = [stats.beta(1 + hits, 1 + misses) for hits, misses in evidence]
    exact = [
        integrate.quad(
            lambda x, i=i: (
                betas[i].pdf(x) * math.prod(other.cdf(x) for j, other in enumerate(betas) if j != i)
            ),
            0,
            1,
            limit=100,
        )[0]
        for i in range(len(betas))
    ]
    means = np.array([beta.mean() for beta in betas])
    chances = chance_to_be_best(means, np.array([beta.std() for beta in betas]))
    assert sum(exact) == pytest.approx(1.0, abs=1e-6)
    assert (chances / chances.sum()).tolist() == pytest.approx(exact, abs=0.05)
