"""Candidates and replies: stored before they are judged, graded, counted, balanced."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from critique_parts import (
    BOUNDS,
    JUDGE,
    SOLVE,
    DirectScorer,
    ListWriter,
    candidate,
    grader,
    named,
    problem,
    writing,
)

from rlreason.critique.candidates import CandidateSet, balance, make_candidates
from rlreason.critique.critiques import collect_responses
from rlreason.critique.prompts import Template
from rlreason.critique.records import Candidate
from rlreason.critique.replies import NamedWriter, ReplyStore
from rlreason.errors import CheckpointError, DataError, TrainingStopped
from rlreason.protocols import Scorer
from rlreason.types import Problem, Score, TextReply, TextRequest

RIGHT, WRONG = r"<think>...</think>\boxed{632}", r"<think>...</think>\boxed{522}"
PROBLEMS = [problem(), problem("1+1", "2")]


def made(
    folder: Path,
    *generators: NamedWriter,
    problems: Sequence[Problem] = PROBLEMS,
    samples: int = 3,
    scorer: Scorer | None = None,
    template: Template = SOLVE,
    max_failed_frac: float = 0.5,
) -> CandidateSet:
    return make_candidates(
        problems,
        generators,
        samples=samples,
        template=template,
        writing=writing(folder, max_failed_frac=max_failed_frac),
        scorer=scorer or grader(),
        bounds=BOUNDS,
    )


def test_every_generator_writes_every_sample_and_the_reward_grades_it(tmp_path: Path) -> None:
    one, two = ListWriter([RIGHT, WRONG]), ListWriter([WRONG])
    result = made(tmp_path, named("one", one), named("two", two, samples=1))
    rows = [(c.generator, c.problem.id, c.sample, c.correct) for c in result.candidates]
    assert rows == [
        ("one", "347+285", 0, True),
        ("one", "347+285", 1, False),
        ("one", "347+285", 2, True),
        ("one", "1+1", 0, False),
        ("one", "1+1", 1, False),
        ("one", "1+1", 2, False),
        ("two", "347+285", 0, False),
        ("two", "1+1", 0, False),
    ]
    assert [(c.generator, c.asked, c.right, c.wrong) for c in result.counts] == [
        ("one", 6, 2, 4),
        ("two", 2, 0, 2),
    ]
    assert [request.prompt for request in two.asked] == ["add 347+285", "add 1+1"]
    seeds = [request.seed for request in one.asked + two.asked]
    assert len(set(seeds)) == 8


def test_what_is_stored_is_not_asked_for_again_and_its_writer_not_started(tmp_path: Path) -> None:
    first = ListWriter([RIGHT])
    result = made(tmp_path, named("one", first))
    again = ListWriter([WRONG])
    assert made(tmp_path, named("one", again)) == result
    assert (first.starts, again.starts) == (1, 0)


@pytest.mark.parametrize("change", ["samples", "template", "identity"])
def test_only_what_a_change_concerns_is_asked_for(change: str, tmp_path: Path) -> None:
    made(tmp_path, named("one", ListWriter([RIGHT])))
    writer = ListWriter([WRONG])
    name = named("one", writer)
    if change == "identity":
        name = replace(name, identity="other temperature")
    template = Template("Solve {problem}", "recipe") if change == "template" else SOLVE
    made(tmp_path, name, samples=4 if change == "samples" else 3, template=template)
    assert len(writer.asked) == (2 if change == "samples" else 6)


class Failing:
    """Fails for the samples named, replies to the others."""

    def __init__(self, *samples: int) -> None:
        self.samples = samples

    def write(self, requests: Sequence[TextRequest]) -> Iterator[TextReply]:
        for request in requests:
            if request.sample in self.samples:
                yield TextReply(key=request.key, text="", finish_reason="error", error="HTTP 500")
            else:
                yield TextReply(key=request.key, text=RIGHT, cost=0.5, completion_tokens=3)


def test_failed_texts_are_counted_and_asked_for_again(tmp_path: Path) -> None:
    result = made(tmp_path, named("one", Failing(1)))
    [count] = result.counts
    assert (count.asked, count.failed, count.right, count.wrong) == (6, 2, 2, 2)
    assert (count.cost, count.completion_tokens) == (2.0, 12)
    assert {c.sample for c in result.candidates} == {0, 2}
    writer = ListWriter([WRONG])
    assert len(made(tmp_path, named("one", writer)).candidates) == 6
    assert {request.sample for request in writer.asked} == {1}


def test_too_many_failures_stop_the_stage_and_keep_the_rest(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped, match=r"one: 4 of 6 texts.*HTTP 500"):
        made(tmp_path, named("one", Failing(0, 1)))
    writer = ListWriter([WRONG])
    made(tmp_path, named("one", writer))
    assert {request.sample for request in writer.asked} == {0, 1}


class Muddled:
    """Forgets a request, or replies to one twice."""

    def __init__(self, twice: bool) -> None:
        self.twice = twice

    def write(self, requests: Sequence[TextRequest]) -> Iterator[TextReply]:
        for request in [requests[0], requests[0]] if self.twice else requests[1:]:
            yield TextReply(key=request.key, text=RIGHT)


def test_a_writer_that_loses_a_request_costs_that_text_alone(tmp_path: Path) -> None:
    result = made(tmp_path, named("one", Muddled(twice=False)))
    assert (result.counts[0].failed, len(result.candidates)) == (1, 5)


def test_a_writer_that_replies_to_what_was_not_asked_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped, match="not among the requests that are open"):
        made(tmp_path, named("one", Muddled(twice=True)))


def test_a_line_that_a_kill_tore_is_dropped_and_the_others_kept(tmp_path: Path) -> None:
    made(tmp_path, named("one", ListWriter([RIGHT])))
    path = tmp_path / "one.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    writer = ListWriter([RIGHT])
    assert len(made(tmp_path, named("one", writer)).candidates) == 6
    assert len(writer.asked) == 1
    assert len(path.read_text().splitlines()) == 6
    third = ListWriter([RIGHT])
    made(tmp_path, named("one", third))
    assert third.starts == 0


def test_a_store_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"key": "1", "text": "a"}\n{"other": 1}\n')
    with pytest.raises(CheckpointError, match=r"one.jsonl line 2: not a reply"):
        ReplyStore(path)


def test_half_a_character_is_stored_as_it_came_and_used_as_text(tmp_path: Path) -> None:
    result = made(tmp_path, named("one", ListWriter(["\ud83d half"])), samples=1)
    assert result.candidates[0].solution == "? half"
    assert "\\ud83d" in (tmp_path / "one.jsonl").read_text()


def test_a_solution_that_the_scorer_failed_on_is_no_wrong_one(tmp_path: Path) -> None:
    class Lost:
        bounds = (0.0, 1.0)

        def __call__(self, problem: Problem, completion: str) -> Score:
            return Score(value=0.0, outcome="infra" if problem.answer == "2" else "ok")

    result = made(tmp_path, named("one", ListWriter([RIGHT])), scorer=DirectScorer(Lost()))
    assert (result.counts[0].unjudged, result.counts[0].wrong) == (3, 3)
    with pytest.raises(DataError, match="no generator"):
        made(
            tmp_path / "b",
            named("one", ListWriter([RIGHT])),
            problems=PROBLEMS[1:],
            scorer=DirectScorer(Lost()),
        )


def shares(candidates: Sequence[Candidate]) -> tuple[int, int]:
    right = sum(c.correct for c in candidates)
    return right, len(candidates) - right


MIXED = [candidate(f"{n}", n < 8, sample=n) for n in range(20)]  # 8 right, 12 wrong


@pytest.mark.parametrize(
    ("right_share", "limit", "expected"),
    [
        (None, None, (8, 12)),
        (None, 10, (4, 6)),
        (0.5, None, (8, 8)),
        (0.5, 6, (3, 3)),
        (0.25, None, (4, 12)),
        (0.8, None, (8, 2)),
        (1.0, None, (8, 0)),
        (0.0, 5, (0, 5)),
    ],
)
def test_shares_are_brought_to_what_is_wanted(
    right_share: float | None, limit: int | None, expected: tuple[int, int]
) -> None:
    kept = balance(MIXED, right_share=right_share, limit=limit)
    assert shares(kept) == expected
    assert kept == [c for c in MIXED if c in kept]
    turned = balance(MIXED[::-1], right_share=right_share, limit=limit)
    assert {c.id for c in turned} == {c.id for c in kept}


def test_each_problem_is_balanced_by_itself() -> None:
    other = [replace(c, problem=problem("1+1", "2")) for c in MIXED[6:10]]
    kept = balance([*MIXED, *other], right_share=0.5, limit=None)
    assert shares([c for c in kept if c.problem.id == "1+1"]) == (2, 2)
    with pytest.raises(DataError, match=r"problem add3/1\+1: 2 right and 0 wrong"):
        balance([*MIXED, *other[:2]], right_share=0.5, limit=None)


def test_teachers_see_problem_and_solution_and_answer_in_order(tmp_path: Path) -> None:
    about = [candidate("S0", True), candidate("S1", False, sample=1)]
    one, two = ListWriter(["a", "b"]), ListWriter(["c"])
    responses = collect_responses(
        about,
        [named("one", one, samples=2), named("two", two)],
        template=JUDGE,
        writing=writing(tmp_path),
    )
    ids = [c.id for c in about]
    assert [(r.teacher, r.candidate_id, r.sample, r.text) for r in responses] == [
        ("one", ids[0], 0, "a"),
        ("one", ids[0], 1, "b"),
        ("one", ids[1], 0, "a"),
        ("one", ids[1], 1, "b"),
        ("two", ids[0], 0, "c"),
        ("two", ids[1], 0, "c"),
    ]
    assert two.asked[1].prompt == "Q: add 347+285\nS: S1"
    assert two.asked[1].solution == "S1"
    assert len({r.id for r in responses}) == 6
