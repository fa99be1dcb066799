"""DUMP's four scores, and what must not earn them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.knights_knaves import KnightsKnaves
from rlreason.errors import DataError
from rlreason.types import Problem

ANSWER = "Zoe is an egoist, Ann is an altruist, and Bo is an egoist."
PROBLEM = Problem(id="1", pool="kk3", prompt="Who is who?", answer=ANSWER)
RIGHT = "Zoe is an egoist, Ann is an altruist, and Bo is an egoist"


def test_the_four_totals_of_the_paper() -> None:
    # structure +1 or -1, answer +2, -1.5 or -2: right, wrong, unreadable, without structure
    texts = (RIGHT, RIGHT.replace("altruist", "egoist"), "none", RIGHT)
    heads = ("<think>so</think>",) * 3 + ("",)
    scores = [score(text, head) for text, head in zip(texts, heads, strict=True)]
    assert scores == [3, -0.5, -1, -3]


def score(answer: str, before: str = "<think>so</think>\n", after: str = "") -> float:
    return KnightsKnaves()(PROBLEM, f"{before}<answer>{answer}</answer>{after}").value


@pytest.mark.parametrize(
    "answer",
    [
        RIGHT,
        RIGHT.replace("an ", "a "),
        "(1) Bo is an egoist\n(2) Ann is an altruist\n(3) Zoe is an egoist.",
        RIGHT.lower(),
    ],
)
def test_everyone_right_scores_3(answer: str) -> None:
    assert score(answer) == 3


def test_someone_wrong_scores_minus_a_half() -> None:
    assert score(RIGHT.replace("altruist", "egoist")) == -0.5


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no idea",
        "Zoe is an egoist, Ann is an altruist",
        f"{RIGHT}, and Cy is an egoist",
        f"{RIGHT}. Zoe is an altruist",
        f"{RIGHT}, not an altruist",
        f"{RIGHT}, no knave",
        "Zoe is an egoist/altruist, Ann is an altruist/egoist, and Bo is an egoist/altruist",
    ],
)
def test_an_answer_that_does_not_name_each_once_scores_minus_1(answer: str) -> None:
    assert score(answer) == -1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("<think>so", ""),
        ("<think>so</think><think>more</think>", ""),
        ("</think>so<think>", ""),
        ("<think>so</think>", " and that is it"),
        ("<think><answer>x</answer></think>", ""),
    ],
)
def test_a_right_answer_without_the_structure_scores_minus_3(before: str, after: str) -> None:
    assert score(RIGHT, before, after) == -3


def test_parts_and_outcome_tell_format_from_answer() -> None:
    wrong = KnightsKnaves()(PROBLEM, "<think>x</think><answer>none</answer>")
    assert (wrong.parts, wrong.outcome) == ({"correct": 0.0, "format": 1.0}, "ok")
    bare = KnightsKnaves()(PROBLEM, RIGHT)
    assert (bare.parts, bare.outcome) == ({"correct": 0.0, "format": 0.0}, "unparseable")


@given(st.text(st.sampled_from("<>/thinkaswerZoe gu. "), max_size=80) | st.text())
def test_only_the_floor_is_anything_but_ok(text: str) -> None:
    for completion in (text, f"<think></think><answer>{text}</answer>"):
        result = KnightsKnaves()(PROBLEM, completion)
        assert (result.outcome == "ok") == (result.value > -3)


@pytest.mark.parametrize("answer", [None, "who knows"])
def test_data_without_an_assignment_stops_the_run(answer: str | None) -> None:
    problem = Problem(id="1", pool="kk3", prompt="Who?", answer=answer)
    with pytest.raises(DataError):
        KnightsKnaves()(problem, "anything")


@given(st.text(st.sampled_from("<>/thinkaswerZoe gu. "), max_size=80) | st.text())
def test_any_text_scores_one_of_the_four(text: str) -> None:
    assert KnightsKnaves()(PROBLEM, text).value in {3, -0.5, -1, -3}


@pytest.mark.parametrize("people", [3, 6])
def test_the_answers_of_reasoning_gym_are_read_in_full(people: int) -> None:
    gym = pytest.importorskip("reasoning_gym")
    for entry in gym.create_dataset("knights_knaves", n_people=people, size=20, seed=1):
        problem = Problem(id="1", pool="kk", prompt=entry["question"], answer=entry["answer"])
        completion = f"<think>x</think><answer>{entry['answer']}</answer>"
        assert KnightsKnaves()(problem, completion).value == 3
        assert completion.count(" is a") == people
