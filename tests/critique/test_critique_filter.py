"""The filter lets true critiques through and nothing else, and says why."""

import pytest
from critique_parts import DirectScorer, candidate, judge
from hypothesis import given
from hypothesis import strategies as st

from rlreason.critique.candidates import split_sizes
from rlreason.critique.filter import FunnelRow, filter_critiques, funnel
from rlreason.critique.records import Candidate, CritiqueExample, DropReason, TeacherResponse
from rlreason.errors import DataError, PluginError
from rlreason.types import Problem, Score

RIGHT = candidate("7+5+0=12;... \\boxed{632}", True)
WRONG = candidate("7+5+0=12;4+8=12;... \\boxed{522}", False)


def response(about: Candidate, text: str, teacher: str = "t", **fields: object) -> TeacherResponse:
    values = {"finish_reason": "stop", **fields}
    return TeacherResponse(
        candidate_id=about.id,
        teacher=teacher,
        prompt_hash="p",
        text=text,
        **values,  # type: ignore[arg-type]
    )


def reasons(about: list[Candidate], responses: list[TeacherResponse]) -> list[DropReason | None]:
    examples = filter_critiques(about, responses, judge=judge())
    assert [example.response_id for example in examples] == [r.id for r in responses]
    return [example.dropped for example in examples]


PLANTED: list[tuple[Candidate, str, DropReason | None]] = [
    # True critiques, in the forms that teachers give them.
    (RIGHT, "All steps hold.\nConclusion: right [END]", None),
    (RIGHT, "The answer \\boxed{632} stands.\nConclusion: right", None),
    (RIGHT, "As \\boxed{632.0}.\n**Conclusion:** right [END]\n", None),
    (WRONG, "The carry is lost; it is \\boxed{632}.\nConclusion: wrong [END]", None),
    (WRONG, "Not \\boxed{522} but \\boxed{632}.\n### Conclusion: **Wrong**. [END]", None),
    (WRONG, "It is \\boxed{1264/2}.\nConclusion: wrong\n[END]", None),
    # Verdicts that are false.
    (RIGHT, "It is \\boxed{632}.\nConclusion: wrong [END]", "wrong_verdict"),
    (RIGHT, "It is \\boxed{522}.\nConclusion: wrong [END]", "wrong_verdict"),
    (WRONG, "It is \\boxed{522}.\nConclusion: right [END]", "wrong_verdict"),
    (WRONG, "It is \\boxed{632}.\nConclusion: right [END]", "wrong_verdict"),
    # True verdicts with false or no corrections.
    (WRONG, "It is \\boxed{633}.\nConclusion: wrong [END]", "wrong_correction"),
    (WRONG, "A carry is lost.\nConclusion: wrong [END]", "wrong_correction"),
    (WRONG, "\\boxed{632} or rather \\boxed{7}.\nConclusion: wrong", "wrong_correction"),
    (WRONG, "It is \\boxed{632} or \\boxed{\nConclusion: wrong", "wrong_correction"),
    (RIGHT, "It is \\boxed{7}.\nConclusion: right [END]", "wrong_correction"),
    # No verdict, or more than one.
    (RIGHT, "All steps hold.", "no_verdict"),
    (RIGHT, "", "no_verdict"),
    (RIGHT, "Conclusion: right\nConclusion: wrong [END]", "no_verdict"),
    (RIGHT, "Conclusion: right/wrong [END]", "no_verdict"),
    (RIGHT, "Conclusion: right [END] I think.", "no_verdict"),
    (WRONG, "\\boxed{632}\nConclusion: the solution is wrong", "no_verdict"),
]


def test_precision_and_recall_are_one_on_a_planted_set() -> None:
    responses = [response(about, text) for about, text, _ in PLANTED]
    expected = [reason for _, _, reason in PLANTED]
    assert expected.count(None) == 6
    assert reasons([RIGHT, WRONG], responses) == expected


def test_a_confident_critique_that_certifies_a_wrong_answer_is_caught() -> None:
    # The published record of this method: the question wants x with x^3 = 2048 (12.699...), the
    # candidate says 12, and the critique checks it with one false line of arithmetic and approves.
    question = Problem(
        id="cube", pool="add3", prompt="Which x has x^3 = 2048?", answer="\\sqrt[3]{2048}"
    )
    wrong = Candidate(
        problem=question,
        generator="g",
        sample=0,
        solution="The cube root of 2048 is \\boxed{12}.",
        finish_reason="stop",
        score=0.0,
        correct=False,
    )
    text = (
        "The approach, taking the cube root, is the right one. To verify, put the result back: "
        "12^3 = 12 * 12 * 12 = 2048, which is what the question asks for. Every step holds, and "
        "the final answer \\boxed{12} is confirmed.\nConclusion: right [END]"
    )
    [example] = filter_critiques([wrong], [response(wrong, text)], judge=judge())
    assert (example.dropped, example.verdict, example.corrected) == ("wrong_verdict", True, False)
    # Nor does a change of the verdict alone let its correction through.
    swapped = response(wrong, text.replace("Conclusion: right", "Conclusion: wrong"))
    [example] = filter_critiques([wrong], [swapped], judge=judge())
    assert example.dropped == "wrong_correction"


def test_failed_and_cut_responses_are_counted_not_read() -> None:
    true = "It is \\boxed{632}.\nConclusion: wrong"
    cut = response(WRONG, true, finish_reason="length")
    failed = response(WRONG, "", error="HTTP 500", finish_reason="error")
    assert reasons([WRONG], [cut, failed]) == ["truncated", "error"]


def test_a_judge_that_failed_is_no_verdict_on_the_critique() -> None:
    class Failing:
        bounds = (0.0, 1.0)

        def __call__(self, problem: Problem, completion: str) -> Score:
            return Score(value=0.0, outcome="timeout")

    text = "It is \\boxed{632}.\nConclusion: wrong"
    examples = filter_critiques([WRONG], [response(WRONG, text)], judge=DirectScorer(Failing()))
    assert [example.dropped for example in examples] == ["unjudged"]


def test_a_reward_that_does_not_judge_critiques_is_refused_by_name() -> None:
    class Other:
        bounds = (0.0, 1.0)

        def __call__(self, problem: Problem, completion: str) -> float:
            return 1.0

    with pytest.raises(PluginError, match="no part 'format'"):
        filter_critiques([WRONG], [response(WRONG, "x")], judge=DirectScorer(Other()))


def test_the_grade_of_the_candidate_decides_not_the_text_of_its_box() -> None:
    by_hand = candidate("so it is 632", True)  # right to its grader, without any box
    text = "All steps hold.\nConclusion: right"
    assert reasons([by_hand], [response(by_hand, text)]) == [None]


def test_responses_about_nobody_are_an_error() -> None:
    with pytest.raises(DataError, match="candidates that are not there"):
        filter_critiques([RIGHT], [response(WRONG, "x")], judge=judge())


def true_critiques(lengths: list[int], about: Candidate = WRONG) -> list[TeacherResponse]:
    verdict = "right" if about.correct else "wrong"
    return [
        response(about, f"{'x' * length}\\boxed{{632}}\nConclusion: {verdict}")
        for length in lengths
    ]


def kept_lengths(examples: list[CritiqueExample]) -> list[int]:
    return sorted(example.critique.count("x") - 1 for example in examples if not example.dropped)


def test_equal_critiques_of_equal_solutions_are_taken_once() -> None:
    twin = candidate(WRONG.solution, False, generator="other")
    text = "It is \\boxed{632}.\nConclusion: wrong"
    responses = [response(WRONG, text), response(twin, text), response(WRONG, text, teacher="u")]
    assert reasons([WRONG, twin], responses) == [None, "duplicate", "duplicate"]
    # A false one does not take the place of a true one.
    assert reasons([WRONG], [response(WRONG, "no"), response(WRONG, text)])[1] is None


def test_longest_and_shortest_are_cut_in_equal_numbers() -> None:
    responses = true_critiques([10, 50, 20, 90, 30, 70, 40])
    examples = filter_critiques([WRONG], responses, judge=judge(), wanted=4)
    assert kept_lengths(examples) == [20, 30, 40, 50]  # of an odd number the longer one goes
    dropped = {e.critique.count("x") - 1: e.dropped for e in examples if e.dropped}
    assert dropped == {10: "too_short", 70: "too_long", 90: "too_long"}


def test_fewer_than_wanted_are_all_kept() -> None:
    examples = filter_critiques([WRONG], true_critiques([1, 2, 3]), judge=judge(), wanted=9)
    assert kept_lengths(examples) == [1, 2, 3]


def test_shares_hold_through_the_trim() -> None:
    responses = true_critiques([1, 2, 3, 4, 5, 6, 7, 8]) + true_critiques([1, 2, 3, 4], RIGHT)
    about = [RIGHT, WRONG]
    examples = filter_critiques(about, responses, judge=judge(), right_share=0.5)
    kept = [example for example in examples if example.dropped is None]
    assert sum(example.candidate_correct for example in kept) == 4
    assert len(kept) == 8
    assert sum(example.dropped == "balance" for example in examples) == 4
    examples = filter_critiques(about, responses, judge=judge(), right_share=0.5, wanted=4)
    kept = [example for example in examples if example.dropped is None]
    assert [example.candidate_correct for example in kept].count(True) == 2
    assert len(kept) == 4


@given(
    st.integers(0, 200),
    st.integers(0, 200),
    st.none() | st.floats(0, 1),
    st.none() | st.integers(0, 300),
)
def test_split_sizes_never_take_more_than_there_is(
    right: int, wrong: int, share: float | None, limit: int | None
) -> None:
    keep_right, keep_wrong = split_sizes(right, wrong, share, limit)
    assert 0 <= keep_right <= right
    assert 0 <= keep_wrong <= wrong
    assert limit is None or keep_right + keep_wrong <= limit
    if share is None and limit is None:
        assert (keep_right, keep_wrong) == (right, wrong)


def test_two_generators_and_two_teachers_are_reported_by_pair() -> None:
    about = [candidate("\\boxed{1}", False, generator=name) for name in ("g1", "g2")]
    true, false = "\\boxed{632}\nConclusion: wrong", "\\boxed{632}\nConclusion: right"
    responses = [
        response(about[0], true, teacher="t1"),
        response(about[1], true + " ", teacher="t1"),
        response(about[0], false, teacher="t2"),
        response(about[1], "hm", teacher="t2"),
    ]
    rows = funnel(filter_critiques(about, responses, judge=judge()))
    assert [(r.generator, r.teacher, r.kept, r.dropped) for r in rows] == [
        ("g1", "t1", 1, {}),
        ("g1", "t2", 0, {"wrong_verdict": 1}),
        ("g2", "t1", 1, {}),
        ("g2", "t2", 0, {"no_verdict": 1}),
    ]
    assert [(r.verdicts, r.true_verdicts) for r in rows] == [(1, 1), (1, 0), (1, 1), (0, 0)]
    assert all(isinstance(row, FunnelRow) for row in rows)


def test_a_kept_example_that_is_not_true_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="not true"):
        CritiqueExample(
            problem=WRONG.problem,
            solution=WRONG.solution,
            critique="Conclusion: right",
            verdict=True,
            corrected=True,
            candidate_correct=False,
            generator="g",
            teacher="t",
            candidate_id="1",
            response_id="2",
        )
