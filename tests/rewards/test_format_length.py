"""The length curve and the combination: the paper's vectors, and what holds for every length."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rewards.format_length import FormatLength, FormatLengthConfig, length_reward
from rlreason.types import Problem, Score

PROBLEM = Problem(id="1", pool="p", prompt="?")
RIGHT, WRONG = r"\boxed{1}", "the answer is 1"
PEAKS = st.floats(0.05, 0.95)
SHARES = st.floats(0, 1)


def score(text: str, tokens: int, **options: Any) -> Score:
    reward = FormatLength(FormatLengthConfig(**{"max_tokens": 3072, **options}))
    result = reward(PROBLEM, text, completion_ids=range(tokens))
    assert reward.bounds[0] <= result.value <= reward.bounds[1]
    return result


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (0, 0), (100, 0.126), (256, 0.306), (512, 0.556), (768, 0.75), (1024, 0.889),
        (1280, 0.972), (1536, 1), (1792, 0.944), (2048, 0.778), (2304, 0.5), (2560, 0.111),
        (2816, -0.389), (3072, -1),
    ],
)  # fmt: skip
def test_the_length_term_of_the_paper(tokens: int, expected: float) -> None:
    assert score(WRONG, tokens, terms="length").value == pytest.approx(expected, abs=6e-4)
    assert score(RIGHT, tokens).parts["length"] == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(
    ("text", "tokens", "released", "paper"),
    [
        (RIGHT, 1536, 1.5, 2.0),
        (WRONG, 1536, 0, 0),
        (WRONG, 2816, -0.389, -0.389),
        (RIGHT, 3072, -0.5, 0.0),
        (WRONG, 3072, -1, -1),
    ],
)
def test_format_and_length_with_the_weight_of_the_code_and_of_the_paper(
    text: str, tokens: int, released: float, paper: float
) -> None:
    assert score(text, tokens, weight=0.5).value == pytest.approx(released, abs=6e-4)
    assert score(text, tokens).value == pytest.approx(paper, abs=6e-4)


@pytest.mark.parametrize(("x", "expected"), [(0, 0), (0.25, 0.5), (0.5, 1), (0.75, 0), (1, -1)])
def test_the_polyline_of_the_paper(x: float, expected: float) -> None:
    # 2x up to the peak of one half, then 3 - 4x
    assert length_reward(x, peak=0.5, curve="polyline") == pytest.approx(expected)


def test_format_only_and_length_only_ignore_the_other_term() -> None:
    assert [score(text, 9, terms="format", weight=0.5).value for text in (RIGHT, WRONG)] == [0.5, 0]
    assert score(RIGHT, 9, terms="format").value == score(RIGHT, 3072, terms="format").value
    assert score(RIGHT, 700, terms="length").value == score(WRONG, 700, terms="length").value


def test_a_completion_beyond_max_tokens_counts_as_that_long() -> None:
    assert score(RIGHT, 5000).value == score(RIGHT, 3072).value


def test_parts_say_what_was_right_whatever_the_terms() -> None:
    assert score(RIGHT, 1536, terms="length").parts == {"format": 1.0, "length": 1.0}
    assert score(WRONG, 1536, terms="format").parts == {"format": 0.0, "length": 1.0}


def test_what_the_released_code_never_finishes_scores_the_floor() -> None:
    tower = r"\boxed{9**9**9**9}"
    hung = score(tower, 1536, format="released")
    assert (hung.outcome, hung.value) == ("over_limit", -1)
    assert score(tower, 1536, format="released", terms="format").value == 0
    assert score(tower, 1536, format="released", terms="length").value == 1


@pytest.mark.parametrize("curve", ["quadratic", "polyline"])
@given(peak=PEAKS, x=SHARES)
def test_the_curve_stays_in_bounds_and_is_continuous(curve: Any, peak: float, x: float) -> None:
    here = length_reward(x, peak=peak, curve=curve)
    assert -1 <= here <= 1
    near = length_reward(min(1.0, x + 1e-7), peak=peak, curve=curve)
    assert abs(near - here) <= 1e-5  # steepest slope in these ranges: 4 / (1 - 0.95)


@pytest.mark.parametrize("curve", ["quadratic", "polyline"])
@given(peak=PEAKS)
def test_the_curve_rises_to_one_at_the_peak_and_falls_to_minus_one(curve: Any, peak: float) -> None:
    values = [length_reward(peak * i / 20, peak=peak, curve=curve) for i in range(21)]
    assert values[0] == pytest.approx(0, abs=1e-12)
    assert all(low < high for low, high in pairwise(values))
    assert values[-1] == pytest.approx(1)
    falling = [
        length_reward(peak + (1 - peak) * i / 20, peak=peak, curve=curve) for i in range(1, 21)
    ]
    assert all(high > low for high, low in pairwise([1, *falling]))
    assert falling[-1] == pytest.approx(-1)


@given(peak=PEAKS)
def test_the_quadratic_crosses_zero_where_the_formula_says(peak: float) -> None:
    crossing = peak + (1 - peak) / math.sqrt(2)
    assert length_reward(crossing, peak=peak, curve="quadratic") == pytest.approx(0, abs=1e-9)
    assert length_reward(crossing - 1e-6, peak=peak, curve="quadratic") > 0
    assert length_reward(crossing + 1e-6, peak=peak, curve="quadratic") < 0


@given(peak=PEAKS)
def test_the_quadratic_is_flat_at_its_peak(peak: float) -> None:
    step = 1e-6
    for side in (-step, step):
        slope = (length_reward(peak + side, peak=peak, curve="quadratic") - 1) / step
        assert abs(slope) < 1e-2


@given(tokens=st.integers(0, 4000), weight=st.floats(0.1, 3), peak=st.floats(0.05, 1))
def test_a_right_format_is_never_worth_less_than_a_wrong_one(
    tokens: int, weight: float, peak: float
) -> None:
    right, wrong = (score(text, tokens, weight=weight, peak=peak) for text in (RIGHT, WRONG))
    assert right.value >= wrong.value
    assert wrong.value <= 0


@pytest.mark.parametrize(
    "options", [{"peak": 0}, {"peak": 1.1}, {"weight": 0}, {"max_tokens": 0}, {"curve": "cubic"}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FormatLengthConfig(**{"max_tokens": 10, **options})
