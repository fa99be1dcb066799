"""Problems, writers and scorers for tests of critique fine-tuning, without any model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rewards.boxed_exact import BoxedExact, BoxedExactConfig
from rewards.critique import Critique, CritiqueConfig
from rlreason.critique.prompts import Template
from rlreason.critique.records import Candidate
from rlreason.critique.replies import NamedWriter, Writing
from rlreason.protocols import Reward, Writer
from rlreason.types import Problem, RolloutGroup, Score, TextReply, TextRequest

SOLVE = Template("{problem}", "recipe")
JUDGE = Template("Q: {problem}\nS: {solution}", "recipe")
BOUNDS = {"add3": (0.0, 1.0)}


def problem(operands: str = "347+285", answer: str | None = "632") -> Problem:
    return Problem(id=operands, pool="add3", prompt=f"add {operands}", answer=answer)


def candidate(solution: str, correct: bool, *, generator: str = "g", sample: int = 0) -> Candidate:
    return Candidate(
        problem=problem(),
        generator=generator,
        sample=sample,
        solution=solution,
        finish_reason="stop",
        score=float(correct),
        correct=correct,
    )


class DirectScorer:
    """Keeps protocols.Scorer by calling a reward where it stands."""

    def __init__(self, reward: Reward) -> None:
        self._reward = reward

    def score(self, groups: Iterable[RolloutGroup]) -> list[tuple[RolloutGroup, tuple[Score, ...]]]:
        return [
            (group, tuple(self._scored(group.problem, r.completion) for r in group.rollouts))
            for group in groups
        ]

    def _scored(self, problem: Problem, completion: str) -> Score:
        score = self._reward(problem, completion)
        return score if isinstance(score, Score) else Score(value=score)


def grader() -> DirectScorer:
    return DirectScorer(BoxedExact(BoxedExactConfig(strict_format=False)))


def judge() -> DirectScorer:
    return DirectScorer(Critique(CritiqueConfig()))


class ListWriter:
    """Writes ``texts`` one after another, from the first again when they are used up."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.asked: list[TextRequest] = []
        self.starts = 0

    def write(self, requests: Sequence[TextRequest]) -> Iterator[TextReply]:
        for request in requests:
            self.asked.append(request)
            yield TextReply(key=request.key, text=self.texts[request.sample % len(self.texts)])


def named(name: str, writer: Writer, *, samples: int | None = None) -> NamedWriter:
    def start() -> AbstractContextManager[Writer]:
        if isinstance(writer, ListWriter):
            writer.starts += 1
        return nullcontext(writer)

    return NamedWriter(name=name, identity=name, samples=samples, start=start)


def writing(folder: Path, *, max_failed_frac: float = 1.0) -> Writing:
    return Writing(
        folder=folder,
        seed=0,
        progress=lambda done, total, what: None,
        max_failed_frac=max_failed_frac,
    )
