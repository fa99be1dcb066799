"""Controllers of coefficients against hand arithmetic."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.control import EntropyState, next_entropy_state, next_kl_coefficient

FINITE = st.floats(-100, 100)


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (0.1, 0.4),  # on target
        (0.11, 0.4 * 1.01),  # error .1
        (0.095, 0.4 * 0.995),  # error -.05
        (5.0, 0.4 * 1.02),  # error 49, believed as .2
        (-0.3, 0.4 * 0.98),  # k1 is noisy: error -4, believed as -.2
        (math.nan, 0.4),  # a skipped update measured nothing
    ],
)
def test_the_kl_coefficient_follows_the_clipped_relative_error(kl: float, expected: float) -> None:
    moved = next_kl_coefficient(0.4, kl, target=0.1, gain=0.1)
    assert moved == pytest.approx(expected, rel=1e-12)


def test_the_gain_scales_the_move() -> None:
    # error .5 clipped to .2; 1 + 2 * .2
    assert next_kl_coefficient(1.0, 0.3, target=0.2, gain=2.0) == pytest.approx(1.4)


@given(FINITE, st.floats(1e-3, 10), st.floats(1e-3, 4.99))
def test_a_kl_coefficient_stays_positive(kl: float, target: float, gain: float) -> None:
    assert next_kl_coefficient(1e-3, kl, target=target, gain=gain) > 0


def entropy_path(*entropies: float) -> list[tuple[float, float]]:
    """(coefficient, applied) after each measurement, from .25, by .25, up to .5, target 1."""
    state, path = EntropyState(0.25, active=True), []
    for entropy in entropies:
        state = next_entropy_state(state, entropy, target=1.0, change=0.25, highest=0.5)
        path.append((state.coefficient, state.applied))
    return path


def test_the_entropy_bonus_climbs_below_its_target_and_rests_above() -> None:
    # .5 < 1: .25 + .25. .9: at the ceiling. 1.5: down, and idle. On the target: down, but active.
    assert entropy_path(0.5, 0.9, 1.5, 1.0, 2.0) == [
        (0.5, 0.5), (0.5, 0.5), (0.25, 0.0), (0.0, 0.0), (0.0, 0.0),
    ]  # fmt: skip
    assert entropy_path(1.0) == [(0.0, 0.0)]
    assert entropy_path(0.5, 1.0) == [(0.5, 0.5), (0.25, 0.25)]


def test_what_was_not_measured_moves_nothing() -> None:
    assert entropy_path(math.nan) == [(0.25, 0.25)]
