"""Stages, OrdinalSchedule and Difficulty: what comes when, and which options they refuse."""

from typing import Any

import pytest
from scored_groups import facts, passes, rewarded_group
from shipped import build

from curricula.difficulty import Difficulty
from curricula.ordinal import OrdinalSchedule
from curricula.stages import Stages

NAMES = ["a", "b", "c", "d"]


def after(curriculum: Any, *steps: list[Any]) -> list[float]:
    for step in steps:
        curriculum.observe(step)
    return [round(weight, 12) for weight in curriculum.weights().values()]


def test_a_stage_is_left_once_all_its_pools_are_seen_and_solved_on_average() -> None:
    stages = {"stages": [["b", "a"], ["d"], ["c"]], "goal": 0.75, "window": 2, "floor": 0.2}
    curriculum = build(Stages, stages, facts(NAMES))
    first = [0.45, 0.45, 0.05, 0.05]
    assert after(curriculum) == first
    assert after(curriculum, [passes("a", 8), passes("a", 8), passes("b", 8)]) == first  # one of b
    assert after(curriculum, [passes("b", 0), passes("d", 8), passes("d", 8)]) == [
        *(0.05, 0.05, 0.05, 0.85)  # (1 + .5) / 2 reaches the goal
    ]
    assert after(curriculum, []) == [0.05, 0.05, 0.85, 0.05]  # d was solved before its turn
    assert after(curriculum, [passes("c", 5)] * 9) == [0.05, 0.05, 0.85, 0.05]
    assert after(curriculum, [passes("c", 6)] * 2) == [0.25] * 4
    assert after(curriculum, [passes(name, 0) for name in NAMES] * 2) == [0.25] * 4


def test_the_order_of_the_recipe_is_the_default_and_patience_ends_a_stage() -> None:
    curriculum = build(Stages, {"patience": 2, "floor": 0.0}, facts(NAMES))
    places = [after(curriculum, [passes("a", 0)]) for _ in range(9)]
    order = [weights.index(1.0) if 1.0 in weights else "all" for weights in places]
    assert order == [0, 1, 1, 2, 2, 3, 3, "all", "all"]


def test_a_pass_rate_is_scaled_by_the_bounds_of_the_reward() -> None:
    options = {"goal": 0.5, "window": 1, "floor": 0.0}
    curriculum = build(Stages, options, facts(["a", "b"], bounds=(-3.0, 1.0)))
    assert after(curriculum, [rewarded_group("a", [-1.1, -1.1])]) == [1.0, 0.0]
    assert after(curriculum, [rewarded_group("a", [-1.0, -1.0])]) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([["a"], ["b", "c"]], "stages leaves out 'd'"),
        ([["a", "b"], ["c", "d"], ["a"]], "stages repeats 'a'"),
        ([["a", "b"], ["c", "d", "e"]], "stages names 'e'"),
    ],
)
def test_stages_name_every_pool_once(stages: list[list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(Stages, {"stages": stages}, facts(NAMES))


def test_ranks_come_in_order_each_for_its_steps_and_the_last_one_stays() -> None:
    options = {"ranks": {"a": 4, "b": 1, "c": 1, "d": 7}, "steps_per_rank": 2}
    curriculum = build(OrdinalSchedule, options, facts(NAMES))
    low, middle, high = [0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]
    seen = [after(curriculum), *(after(curriculum, [passes("a", 8)]) for _ in range(6))]
    assert seen == [low, low, middle, middle, high, high, high]


def test_a_cumulative_schedule_keeps_the_ranks_before() -> None:
    options = {"steps_per_rank": 1, "cumulative": True, "floor": 0.4}
    curriculum = build(OrdinalSchedule, options, facts(NAMES))
    assert after(curriculum) == [0.7, 0.1, 0.1, 0.1]
    assert after(curriculum, []) == [0.4, 0.4, 0.1, 0.1]


def test_ranks_must_name_every_pool() -> None:
    with pytest.raises(ValueError, match="ranks leaves out 'b', 'c', 'd'"):
        build(OrdinalSchedule, {"ranks": {"a": 1}}, facts(NAMES))


def test_the_probe_draws_pools_until_each_has_its_rollouts() -> None:
    curriculum = build(Difficulty, {"probe": 16, "pass_rates": {"d": 0.9}}, facts(NAMES))
    assert after(curriculum) == [round(1 / 3, 12)] * 3 + [0.0]
    assert after(curriculum, [passes("a", 1)] * 2 + [passes("b", 4)]) == [0.0, 0.5, 0.5, 0.0]
    masked = rewarded_group("b", [1.0] * 8, ["infra"] * 8)
    assert after(curriculum, [masked, passes("c", 0), passes("c", 0)]) == [0.0, 1.0, 0.0, 0.0]
    # a: 1 / 8 hard, b: 5 / 8 medium, c: 0 very hard, d: stated as easy; 7 to 2 to 1
    assert after(curriculum, [passes("b", 6)]) == [0.7, 0.2, 0.0, 0.1]
    assert [row["label"] for row in curriculum.metrics().values()] == [1.0, 2.0, 0.0, 3.0]


def test_labels_stay_what_the_probe_made_them() -> None:
    curriculum = build(Difficulty, {"probe": 12}, facts(["a"]))
    after(curriculum, [passes("a", 1), passes("a", 8)], [passes("a", 8)] * 9)
    assert curriculum.metrics()["a"]["pass_rate"] == 5 / 12  # 12 of the first 16 rollouts


def test_stages_of_labels_follow_each_other_after_the_probe() -> None:
    known = {"a": 1.0, "b": 0.9, "c": 0.5, "d": 0.0}
    stages = [
        {"steps": 2, "shares": {"easy": 1}},
        {"steps": 1, "shares": {"easy": 1, "medium": 3}},
        {"shares": {"hard": 1}},  # no pool is: all are drawn
    ]
    curriculum = build(Difficulty, {"pass_rates": known, "stages": stages}, facts(NAMES))
    easy, mixed = [0.5, 0.5, 0.0, 0.0], [0.125, 0.125, 0.75, 0.0]
    seen = [after(curriculum), *(after(curriculum, []) for _ in range(4))]
    assert seen == [easy, easy, mixed, [0.25] * 4, [0.25] * 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pass_rates": {"e": 0.5}}, "pass_rates names 'e'"),
        ({"pass_rates": {"a": 1.5}}, r"\['a'\] is outside \[0, 1\]"),
        ({"stages": [{"shares": {"simple": 1}}]}, "simple"),
        ({"stages": []}, "at least 1"),
    ],
)
def test_options_of_difficulty_that_mean_nothing_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(Difficulty, options, facts(NAMES))
