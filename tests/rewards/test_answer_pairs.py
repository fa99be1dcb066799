"""verify() on right and wrong answers of twelve categories, kept as data beside this file."""

from collections import Counter

import pytest
from answer_pairs import NO_FALSE_POSITIVES, Pair, read_pairs

from rewards.math_answer import verify

OPEN = read_pairs("answer_pairs.yaml")
HELD_OUT = read_pairs("answer_pairs_held_out.yaml")


def judged(pair: Pair) -> bool:
    return verify(pair.gold, pair.completion).correct


def mistakes(pairs: list[Pair]) -> list[Pair]:
    return [pair for pair in pairs if judged(pair) != pair.is_right]


def test_the_suite_is_balanced_and_has_twelve_categories() -> None:
    counts = Counter((pair.category, pair.is_right) for pair in OPEN)
    assert len(OPEN) >= 240
    assert len(counts) == 24
    assert len(set(OPEN) | set(HELD_OUT)) == len(OPEN) + len(HELD_OUT)
    assert {pair.category for pair in HELD_OUT} == {pair.category for pair in OPEN}
    assert 0.4 < sum(pair.is_right for pair in OPEN) / len(OPEN) < 0.65


@pytest.mark.parametrize("category", sorted({pair.category for pair in OPEN}))
def test_every_category_is_judged_right(category: str) -> None:
    assert mistakes([pair for pair in OPEN if pair.category == category]) == []


def test_pairs_that_were_held_out_while_it_was_written_are_judged_right() -> None:
    wrong = mistakes(HELD_OUT)
    assert len(wrong) <= 0.04 * len(HELD_OUT), wrong
    accepted = [pair for pair in wrong if pair.category in NO_FALSE_POSITIVES]
    assert [pair for pair in accepted if not pair.is_right] == []
