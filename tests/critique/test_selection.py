"""A checkpoint is selected by validation alone, by a rule that breaks ties the same way always."""

import pytest

from rlreason.critique.outcome import policy_number, refuse_overlap, refuse_tested, selected
from rlreason.critique.selection import Spread, Standing, select
from rlreason.data.pools import split_key
from rlreason.errors import DataError
from rlreason.types import Problem


def standings(*scores: float | None) -> list[Standing]:
    return [Standing(update=10 * (n + 1), validation=score) for n, score in enumerate(scores)]


def test_the_earliest_of_the_best_is_taken() -> None:
    checkpoints = standings(0.2, 0.7, 0.7, 0.5)
    assert select(checkpoints, "best_validation") == 20
    assert select(checkpoints[::-1], "best_validation") == 20
    assert select(checkpoints[::-1], "last") == 40


def test_last_needs_no_validation_and_best_refuses_to_do_without() -> None:
    assert select(standings(None, None), "last") == 20
    with pytest.raises(DataError, match="was not validated"):
        select(standings(0.5, None), "best_validation")


def test_each_training_has_a_result_of_its_own_and_the_test_has_no_say() -> None:
    rows = [
        {"method": "cft", "group": "all", "seed": 0, "update": 10, "validation": 0.3, "test": 0.9},
        {"method": "cft", "group": "all", "seed": 0, "update": 20, "validation": 0.4, "test": 0.1},
        {"method": "cft", "group": "all", "seed": 1, "update": 10, "validation": 0.2, "test": 0.1},
        {"method": "cft", "group": "all", "seed": 1, "update": 20, "validation": 0.1, "test": 0.9},
        {"method": "sft_one", "group": "all", "seed": 0, "update": 10, "validation": 0, "test": 0},
    ]
    assert selected(rows, "best_validation") == [1, 2, 4]
    assert selected(rows, "last") == [1, 3, 4]


def problem(pool: str, prompt: str) -> Problem:
    return Problem(id=prompt, pool=pool, prompt=prompt, answer="1")


def test_a_problem_cannot_both_choose_and_test() -> None:
    validation = {"a": [problem("a", "1 + 1"), problem("a", "2 + 2")]}
    refuse_overlap(validation, {"b": [problem("b", "3 + 3")]}, split_key)
    with pytest.raises(DataError, match=r"1 validation problems are also test .* a/2 \+ 2"):
        refuse_overlap(validation, {"b": [problem("b", "2  + 2 ")]}, split_key)


def test_a_seed_problem_cannot_be_tested() -> None:
    seeds = [problem("a", "1 + 1")]
    refuse_tested(seeds, frozenset({"2 + 2"}), split_key)
    with pytest.raises(DataError, match=r"seed problem a/1 \+ 1 is also"):
        refuse_tested(seeds, frozenset({"1 + 1"}), split_key)


def test_a_policy_is_filed_under_its_own_number_whatever_else_the_run_holds() -> None:
    assert policy_number("abc") == policy_number("abc") != policy_number("abd")
    assert policy_number("abc") > 0


def test_a_spread_of_one_has_no_deviation() -> None:
    assert str(Spread(values=(0.5,))) == "0.500"
    assert str(Spread(values=(0.4, 0.6))) == "0.500 ± 0.141"
