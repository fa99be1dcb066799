"""The records of critique fine-tuning: Candidate -> TeacherResponse -> CritiqueExample.

Each has an ``id``, a hash of its content: the same row has the same id in every run, and a row
whose text changed is another row. No torch here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from rlreason.types import Problem

DropReason = Literal[
    "error",
    "truncated",
    "no_verdict",
    "unjudged",
    "wrong_verdict",
    "wrong_correction",
    "duplicate",
    "too_long",
    "too_short",
    "balance",
]
"""Why a critique is not trained on, in the order in which the filter asks.

``error``: the teacher gave no text. ``truncated``: it was cut at its token limit. ``no_verdict``:
no conclusion line, or lines that contradict each other. ``unjudged``: the judge itself failed.
``wrong_verdict``: it differs from the grade of the solution. ``wrong_correction``: its boxed answer
differs from the problem's, or a wrong solution is not corrected. The others are about numbers:
the same text twice, the ends of the length distribution, the share of right solutions.
"""


def stable_hash(*parts: Any) -> str:
    """16 hex digits that depend on the JSON of ``parts`` alone."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A solution to a seed problem, with its grade."""

    problem: Problem
    generator: str
    """Name of the generator in the recipe."""
    sample: int
    """Counts the solutions of one generator to one problem from 0."""
    solution: str
    finish_reason: str
    """``stop``, ``length`` or an endpoint's own word."""
    score: float
    """What the reward gave."""
    correct: bool
    """Whether ``score`` is the reward's highest value."""

    @property
    def id(self) -> str:
        """Hash of problem, generator, sample and solution."""
        prompt = self.problem.prompt
        return stable_hash(self.problem.key, prompt, self.generator, self.sample, self.solution)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherResponse:
    """What a teacher wrote about a candidate, before anybody judges it."""

    candidate_id: str
    teacher: str
    """Name of the teacher in the recipe."""
    prompt_hash: str
    """Hash of the prompt that the teacher read: another template is another response."""
    sample: int = 0
    """Counts the critiques of one candidate by one teacher from 0."""
    text: str
    finish_reason: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    attempts: int = 1
    error: str | None = None
    """Why there is no text."""

    @property
    def id(self) -> str:
        """Hash of candidate, teacher, prompt, sample and text."""
        asked = (self.candidate_id, self.teacher, self.prompt_hash, self.sample)
        return stable_hash(*asked, self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class CritiqueExample:
    """A judged critique. It is trained on when ``dropped`` is None."""

    problem: Problem
    solution: str
    """The candidate's, as the policy will read it."""
    critique: str
    """The teacher's text, as the policy will learn to write it."""
    verdict: bool | None
    """What the critique says of the solution: right, wrong, or nothing clear."""
    corrected: bool
    """Whether the critique's own answer agrees with the problem's."""
    candidate_correct: bool
    """The grade of the solution."""
    generator: str
    teacher: str
    candidate_id: str
    response_id: str
    dropped: DropReason | None = None
    """Why it is left out; None: it is trained on."""

    def __post_init__(self) -> None:
        if self.dropped is None and (self.verdict != self.candidate_correct or not self.corrected):
            raise ValueError(f"critique {self.response_id}: kept, although it is not true")

    @property
    def id(self) -> str:
        """Hash of everything that is trained on."""
        return stable_hash(self.problem.key, self.problem.prompt, self.solution, self.critique)
