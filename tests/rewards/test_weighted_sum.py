"""The sum's value, parts, bounds and outcomes; and DAPO's overlong punishment."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rewards.overlong import Overlong, OverlongConfig
from rewards.weighted_sum import WeightedSum, WeightedSumConfig
from rlreason.errors import DataError, PluginError
from rlreason.plugins import build_plugin
from rlreason.types import Problem, Score

PROBLEM = Problem(id="1", pool="p", prompt="?", answer="2")
EXACT = {"use": "rewards.boxed_exact:BoxedExact"}
SHORT = {"use": "rewards.overlong:Overlong", "max_tokens": 10, "buffer": 4}
RIGHT, WRONG = r"<think>x</think>\boxed{2}", r"<think>x</think>\boxed{3}"


class Says:
    """Gives a score of its options."""

    bounds = (-1.0, 2.0)

    def __init__(self, value: float, outcome: Any = "ok") -> None:
        self._score = Score(value=value, outcome=outcome)

    def __call__(self, problem: Problem, completion: str) -> Score:
        return self._score


def says(value: float, weight: float = 1.0, outcome: str = "ok") -> dict[str, Any]:
    return {"use": f"{__file__}:Says", "value": value, "outcome": outcome, "weight": weight}


def total(**parts: dict[str, Any]) -> WeightedSum:
    return WeightedSum(WeightedSumConfig.model_validate({"parts": parts}))


def test_correctness_and_length_add_up_and_are_logged_apart() -> None:
    reward = total(correct=EXACT | {"weight": 2.0}, short=SHORT | {"weight": 0.5})
    assert reward.bounds == (-0.5, 2.0)
    right = reward(PROBLEM, RIGHT, completion_ids=range(8))  # two of four tokens into the buffer
    assert (right.value, right.parts) == (2.0 - 0.25, {"correct": 1.0, "short": -0.5})
    wrong = reward(PROBLEM, WRONG, completion_ids=range(3))
    assert (wrong.value, wrong.parts) == (0.0, {"correct": 0.0, "short": 0.0})


def test_the_sum_asks_for_what_its_parts_ask_for() -> None:
    both = total(correct=EXACT, short=SHORT)
    assert (both.needs_answer, both.needs_tokens) == (True, True)
    with pytest.raises(DataError):
        both.check_problem(Problem(id="1", pool="p", prompt="?"))
    assert (total(short=SHORT).needs_answer, total(correct=EXACT).needs_tokens) == (False, False)


def test_a_negative_weight_turns_the_bounds_of_its_part() -> None:
    assert total(a=says(0), b=says(0, weight=-2)).bounds == (-1 - 4, 2 + 2)


@given(st.lists(st.tuples(st.floats(-1, 2), st.floats(-5, 5)), min_size=1, max_size=6))
def test_the_sum_never_leaves_its_bounds(parts: list[tuple[float, float]]) -> None:
    for lifted in (lambda value: value, lambda _: -1.0, lambda _: 2.0):
        named = {f"p{i}": says(lifted(value), weight) for i, (value, weight) in enumerate(parts)}
        reward = total(**named)
        assert reward.bounds[0] <= reward(PROBLEM, "").value <= reward.bounds[1]


def test_a_part_that_is_not_ok_adds_the_least_it_can() -> None:
    # a can add -1 at least; b is a penalty of at most -2 * 2
    assert total(a=says(-1, outcome="unparseable"), c=says(1))(PROBLEM, "").value == -1 + 1
    score = total(b=says(-1, weight=-2, outcome="over_limit"), c=says(1))(PROBLEM, "")
    assert (score.value, score.outcome) == (-4 + 1, "ok")


def test_the_sum_has_an_outcome_only_if_no_part_is_ok() -> None:
    none = total(a=says(-1, outcome="unparseable"), b=says(-1, outcome="over_limit"))
    score = none(PROBLEM, "")
    assert (score.value, score.outcome) == (-2.0, "unparseable")


def test_one_part_without_a_judge_hides_the_sum() -> None:
    score = total(a=says(2), b=says(-1, outcome="infra"))(PROBLEM, "")
    assert (score.value, score.outcome) == (-2.0, "infra")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": {}}, "parts"),
        ({"parts": {"a": {"weight": 1.0}}}, "use"),
        ({"parts": {"a": EXACT | {"weight": float("nan")}}}, "weight"),
        ({"parts": {"a": EXACT | {"wieght": 1.0}}}, "parts.a .*unknown option 'wieght'"),
        ({"parts": {"a": {"use": "rewards.majority_vote:MajorityVote"}}}, "whole group"),
    ],
)
def test_a_mistake_in_a_part_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        build_plugin("rewards.weighted_sum:WeightedSum", options, where="scoring.reward")


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 0), (384, 0), (385, -1 / 128), (448, -0.5), (512, -1), (900, -1)]
)
def test_overlong_grows_over_the_buffer(tokens: int, expected: float) -> None:
    reward = Overlong(OverlongConfig(max_tokens=512, buffer=128))
    assert reward(PROBLEM, "x", completion_ids=range(tokens)) == pytest.approx(expected)


def test_a_buffer_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(ValidationError, match="buffer = 20 is more than max_tokens = 10"):
        OverlongConfig(max_tokens=10, buffer=20)
