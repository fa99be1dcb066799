"""A critique is judged by its verdict and its correction, never by its confidence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.critique import Critique, CritiqueConfig, conclusion
from rlreason.errors import DataError
from rlreason.types import Problem, Score

GOOD, BAD = r"3+4=7, so \boxed{7}", r"3+4=8, so \boxed{8}"


def problem(candidate: str, answer: str | None = "7", **metadata: Any) -> Problem:
    return Problem(
        id="1", pool="p", prompt="?", answer=answer, metadata={"candidate": candidate, **metadata}
    )


def score(candidate: str, critique: str, weight: float = 0.5, **metadata: Any) -> Score:
    reward = Critique(CritiqueConfig(verdict_weight=weight))
    return reward(problem(candidate, **metadata), critique)


@pytest.mark.parametrize(
    ("candidate", "critique", "verdict", "correction"),
    [
        (BAD, "it is \\boxed{7}.\nConclusion: wrong [END]", 1, 1),
        (BAD, "it is \\boxed{14/2}.\nConclusion: wrong", 1, 1),
        (BAD, "it is \\boxed{9}.\nConclusion: wrong [END]", 1, 0),
        (BAD, "it is off.\nConclusion: wrong [END]", 1, 0),
        (BAD, "fine.\nConclusion: right [END]", 0, 0),
        (BAD, "it is \\boxed{7}.\nConclusion: right [END]", 0, 1),
        (GOOD, "fine.\nConclusion: right [END]", 1, 1),
        (GOOD, "it is \\boxed{7}.\nConclusion: right", 1, 1),
        (GOOD, "it is \\boxed{8}.\nConclusion: right", 1, 0),
        (GOOD, "off.\nConclusion: wrong [END]", 0, 0),
        (GOOD, "it is \\boxed{7}.\nConclusion: wrong [END]", 0, 0),
    ],
)
def test_verdict_and_correction(
    candidate: str, critique: str, verdict: float, correction: float
) -> None:
    judged = score(candidate, critique, weight=0.25)
    assert judged.parts == {"verdict": verdict, "correction": correction, "format": 1.0}
    assert judged.value == pytest.approx(0.25 * verdict + 0.75 * correction)


def test_the_grade_of_the_data_overrules_the_comparison() -> None:
    critique = "fine.\nConclusion: right [END]"
    assert score(BAD, critique, candidate_correct=True).value == 1.0
    assert score(GOOD, critique, candidate_correct=False).value == 0.0


@pytest.mark.parametrize(
    ("critique", "expected"),
    [
        ("Conclusion: right [END]", "right"),
        ("text\n**Conclusion: wrong** [END]\n", "wrong"),
        ("text\nconclusion: Wrong.", "wrong"),
        ("**Conclusion:** wrong [END]", "wrong"),
        ("### Conclusion: **Wrong**.\n", "wrong"),
        ("text\nConclusion: `right`\n[END]\n", "right"),
        ("My conclusion: it holds.\nConclusion: right", "right"),
        ("Conclusion: right/wrong is the form.\nConclusion: wrong", "wrong"),
        ("Conclusion: right\nso\nConclusion: right [END]", "right"),
        ("Conclusion: right\nConclusion: wrong [END]", None),
        ("At first, conclusion: right. But no.\nConclusion: wrong [END]", None),
        ("Conclusion: wrong [END]\nText.", None),
        ("Conclusion:\nwrong [END]", None),
        ("Conclusion: not right [END]", None),
        ("[END]", None),
        ("Conclusion: wrong [END] or so", None),
        ("so Conclusion: right [END]", None),
        ("Conclusion: rightwrong", None),
        ("Conclusion: right/wrong [END]", None),
        ("right", None),
        ("", None),
    ],
)
def test_the_last_line_concludes_and_no_other_line_disagrees(
    critique: str, expected: str | None
) -> None:
    assert conclusion(critique) == expected


def test_a_critique_without_a_conclusion_scores_nothing() -> None:
    judged = score(BAD, r"it is \boxed{7}")
    assert (judged.value, judged.outcome) == (0.0, "unparseable")


@pytest.mark.parametrize("candidate", [GOOD, BAD])
def test_its_own_example_scores_full(candidate: str) -> None:
    reward = Critique(CritiqueConfig())
    assert reward(problem(candidate), reward.example(problem(candidate))).value == 1.0


@pytest.mark.parametrize(
    "broken",
    [
        problem(GOOD, answer=None),
        Problem(id="1", pool="p", prompt="?", answer="7"),
        problem(GOOD, candidate_correct="yes"),
    ],
)
def test_data_that_cannot_be_judged_stops_the_run(broken: Problem) -> None:
    with pytest.raises(DataError):
        Critique(CritiqueConfig()).check_problem(broken)


@given(st.text())
def test_any_text_scores_within_bounds(text: str) -> None:
    assert 0 <= score(BAD, f"{text}\nConclusion: wrong [END]").value <= 1
