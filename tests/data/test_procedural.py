"""reasoning-gym as a source: seeded entries, split keys, repeated and excluded questions."""

import json
import logging
from typing import Any

import pytest

from rlreason.config import PoolSection
from rlreason.data.pools import split_held_out
from rlreason.data.problems import read_problems
from rlreason.data.sources import open_source
from rlreason.errors import ConfigError
from rlreason.types import Problem


def rows_of(source: str, **options: Any) -> list[Any]:
    pool = PoolSection(name="words", source=source, options=options)
    return list(open_source(pool, where="pools.words").read())


def problems_of(source: str, **options: Any) -> list[Problem]:
    pool = PoolSection(name="words", source=source, options=options)
    opened = open_source(pool, where="pools.words")
    return read_problems(opened, "words", needs_answer=False)


def test_reasoning_gym_entries_are_seeded_and_json_ready() -> None:
    rows = rows_of("reasoning_gym:chain_sum", size=20, seed=3, min_terms=2, max_terms=3)
    assert rows == rows_of("reasoning_gym:chain_sum", size=20, seed=3, min_terms=2, max_terms=3)
    assert rows != rows_of("reasoning_gym:chain_sum", size=20, seed=4, min_terms=2, max_terms=3)
    assert len(rows) == 20
    for row in rows:
        metadata = row["metadata"]
        assert json.loads(json.dumps(metadata)) == metadata
        assert eval_sum(metadata["expression"]) == int(row["answer"])
        assert metadata["expression"] in row["prompt"]


def eval_sum(expression: str) -> int:
    """``4 - 1 + 7`` by hand."""
    first, *rest = expression.split()
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return int(first) + sum(int(term) if sign == "+" else -int(term) for sign, term in pairs)


def test_reasoning_gym_without_a_seed_is_the_same_every_time() -> None:
    options = {"size": 5}
    assert rows_of("reasoning_gym:chain_sum", **options) == rows_of(
        "reasoning_gym:chain_sum", **options
    )


def test_commuted_operands_have_one_split_key() -> None:
    options = {"size": 500, "min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    problems = problems_of("reasoning_gym:chain_sum", **options)
    train, held_out = split_held_out(problems, 20)

    def operands(problem: Problem) -> tuple[str, ...]:
        left, _, right = problem.metadata["expression"].split()
        return tuple(sorted((left, right)))

    commuted = {operands(p) for p in problems if operands(p)[0] != operands(p)[1]}
    assert len(commuted) < len(problems)  # else this test would show nothing
    assert not set(map(operands, train)) & set(map(operands, held_out))


def test_puzzles_that_all_mention_the_same_numbers_still_split() -> None:
    problems = problems_of("reasoning_gym:knights_knaves", size=60)
    train, held_out = split_held_out(problems, 20)
    assert len(held_out) < 30
    assert len(train) > 20


def test_repeated_questions_are_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    options = {"size": 300, "min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    with caplog.at_level(logging.WARNING):
        rows = rows_of("reasoning_gym:chain_sum", **options)
    prompts = [row["prompt"] for row in rows]
    assert len(prompts) == len(set(prompts)) < 300
    assert f"{len(prompts)} of 300 questions are distinct" in caplog.text
    assert rows[0]["origin"] == "reasoning_gym:chain_sum entry 1"


ONE_DIGIT_SUMS = {
    "operators": ["+"],
    "min_terms": 2,
    "max_terms": 2,
    "max_digits": 1,
    "allow_parentheses": False,
    "size": 300,
}


def test_excluded_questions_are_left_out_and_no_others() -> None:
    source = "reasoning_gym:basic_arithmetic"
    everything = rows_of(source, **ONE_DIGIT_SUMS)
    rows = rows_of(source, **ONE_DIGIT_SUMS, exclude=["10", r"^Calculate 3 \+ 4\.$"])
    left_out = {row["prompt"] for row in everything} - {row["prompt"] for row in rows}
    assert "Calculate 3 + 4." in left_out
    assert "Calculate 4 + 3." in {row["prompt"] for row in rows}
    assert all("10" in prompt for prompt in left_out - {"Calculate 3 + 4."})
    assert not any("10" in row["prompt"] for row in rows)
    assert rows == [row for row in everything if row["prompt"] not in left_out]


@pytest.mark.parametrize(
    ("exclude", "words"),
    [
        (["3 plus 4"], r"options.exclude: '3 plus 4' is in no question; the first one is 'Calc"),
        (["3 + 4"], "is in no question"),  # as a pattern it reads "3", spaces, " 4"
        (["("], r"exclude: '\(' is no regular expression"),
        ("10", "must be a list"),
        ([10], "must be a list"),
    ],
)
def test_an_exclusion_that_cannot_be_meant_is_refused(exclude: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        rows_of("reasoning_gym:basic_arithmetic", **ONE_DIGIT_SUMS, exclude=exclude)
