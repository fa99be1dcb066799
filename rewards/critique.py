r"""Scores a critique of somebody's solution: is its verdict true, and is its correction right?

    reward: rewards.critique:Critique

A problem holds the answer, and in its metadata the solution that was to be judged:

    candidate            text of the solution
    candidate_correct    whether it is right; without it, its box is compared with the answer

A critique ends in a line ``Conclusion: right`` or ``Conclusion: wrong``, ``[END]`` behind it or
not. Parts, each 0 or 1:

    format       its last line concludes, and no other line concludes otherwise; else the outcome is
                 unparseable and the value 0
    verdict      the conclusion is true
    correction   of a wrong solution: the critique's last box equals the answer;
                 of a right one: the verdict is true and no box contradicts the answer

    value = verdict_weight * verdict + (1 - verdict_weight) * correction

A value of 1 is what the filter of one-shot critique fine-tuning (arXiv 2506.03295) should let pass.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rewards.boxes import last_boxed
from rewards.math_answer import verify
from rlreason.errors import DataError
from rlreason.types import Problem, Score

Conclusion = Literal["right", "wrong"]

# Teachers put marks of emphasis anywhere around the words; they mean nothing.
_MARKS = r"[ \t*_`]*"
_LAST_LINE = re.compile(
    rf"[ \t>#*_`-]*conclusion{_MARKS}:{_MARKS}(right|wrong)[ \t*_`.]*(?:\[END\][ \t*_`.]*)?",
    re.IGNORECASE,
)
_STATED = re.compile(rf"conclusion{_MARKS}:{_MARKS}(right|wrong)\b(?! *[/|])", re.IGNORECASE)
_END = "[END]"


class CritiqueConfig(BaseModel):
    """Options of Critique."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    verdict_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the value that the verdict earns; the correction earns the rest."""


def conclusion(critique: str) -> Conclusion | None:
    """What the last line of ``critique`` concludes; None where it does not, or others disagree."""
    lines = critique.rstrip().splitlines()
    if lines and lines[-1].strip(" \t*_`").upper() == _END:
        lines.pop()  # the end mark, on a line of its own
    found = _LAST_LINE.fullmatch(lines[-1]) if lines else None
    stated = {verdict.lower() for verdict in _STATED.findall(critique)}
    if found is None or len(stated) != 1:
        return None
    return "right" if found[1].lower() == "right" else "wrong"


class Critique:
    """Reward of a critique's truth."""

    Config = CritiqueConfig
    bounds = (0.0, 1.0)
    needs_answer = True

    def __init__(self, config: CritiqueConfig) -> None:
        self._verdict_weight = config.verdict_weight

    def check_problem(self, problem: Problem) -> None:
        """Refuse a problem without an answer, a candidate, or a grade that is true or false."""
        _truth(problem)

    def example(self, problem: Problem) -> str:
        """A critique without a word too many, true and with the right correction."""
        return f"The answer is \\boxed{{{problem.answer}}}.\nConclusion: {_truth(problem)} [END]"

    def __call__(self, problem: Problem, completion: str) -> Score:
        """Score the critique in ``completion``."""
        truth = _truth(problem)
        concluded = conclusion(completion)
        if concluded is None:
            parts = {"verdict": 0.0, "correction": 0.0, "format": 0.0}
            return Score(value=0.0, parts=parts, outcome="unparseable")
        verdict = concluded == truth
        correction = _is_corrected(problem, completion, truth, verdict)
        earned = self._verdict_weight * verdict + (1 - self._verdict_weight) * correction
        parts = {"verdict": float(verdict), "correction": float(correction), "format": 1.0}
        return Score(value=min(1.0, earned), parts=parts)


def _truth(problem: Problem) -> Conclusion:
    candidate = problem.metadata.get("candidate")
    grade = problem.metadata.get("candidate_correct")
    if problem.answer is None or not isinstance(candidate, str):
        raise DataError("it needs an answer and, in metadata.candidate, the solution to judge")
    if grade is None:
        grade = verify(problem.answer, candidate).correct
    if not isinstance(grade, bool):
        raise DataError(f"metadata.candidate_correct = {grade!r:.80}: it is true or false")
    return "right" if grade else "wrong"


def _is_corrected(problem: Problem, critique: str, truth: Conclusion, verdict: bool) -> bool:
    assert problem.answer is not None, "checked with the truth"
    if truth == "right" and last_boxed(critique) is None:
        return verdict
    agrees = verify(problem.answer, critique).correct
    return agrees and (verdict or truth == "wrong")
