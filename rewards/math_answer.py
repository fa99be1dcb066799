r"""1 when the completion's last box equals the answer as mathematics, else 0.

    reward: rewards.math_answer:MathAnswer

The last ``\boxed{...}`` after the reasoning (after ``</think>``, if there is one) counts. Equality
is exact: 0.333 is not 1/3. A missing unit is fine, a contradicting one is not; bare lists have no
order, tuples have; a box that hedges, or states an equation that is false, is wrong. Text of the
model is parsed by the grammar in ``rewards.mathematics`` and never run. What that grammar lacks
(sums, integrals, limits) goes to math-verify in a process with a time and a memory limit.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from functools import lru_cache

from rewards.boxes import last_boxed
from rewards.mathematics import choices, symbolic
from rewards.mathematics.answers import Answer, Words
from rewards.mathematics.compare import same
from rewards.mathematics.limits import (
    LONGEST_ANSWER,
    LONGEST_TAIL,
    TooMuchError,
    UnreadableError,
    check_text,
)
from rewards.mathematics.normalize import normalize
from rewards.mathematics.reading import read, read_words
from rlreason.errors import DataError
from rlreason.types import Outcome, Problem, Score

_SOMETHING = re.compile(r"[0-9A-Za-z]")
_LOOSE_SPACE = re.compile(r" (?![0-9A-Za-z])|(?<![0-9A-Za-z]) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What ``verify`` found."""

    correct: bool
    outcome: Outcome
    extracted: str | None
    """Content of the box that counted."""
    reason: str
    """Which rule decided."""
    seconds: float


@dataclass(frozen=True, slots=True)
class _Gold:
    text: str
    answer: Answer | None
    """None when the grammar cannot read it: math-verify may, else it is compared as text."""


@dataclass(frozen=True, slots=True)
class _Decision:
    correct: bool
    outcome: Outcome
    reason: str


def verify(gold: str, completion: str) -> Verdict:
    """Whether ``completion`` ends in an answer equal to ``gold``.

    Raises:
        DataError: If ``gold`` itself is empty or no mathematics that can be read.
    """
    start = time.perf_counter()
    check_gold(gold)
    extracted = extract(completion)
    if extracted is None:
        decision = _Decision(False, "unparseable", "no box")
    elif len(extracted) > LONGEST_ANSWER:
        decision = _Decision(False, "over_limit", "longer than an answer may be")
    else:
        decision = _decide(gold, extracted)
    return Verdict(
        correct=decision.correct,
        outcome=decision.outcome,
        extracted=extracted,
        reason=decision.reason,
        seconds=time.perf_counter() - start,
    )


def extract(completion: str) -> str | None:
    r"""The last box after the reasoning; None without one, or while the reasoning still goes on."""
    tail = completion.rpartition("</think>")[2]
    return None if "<think>" in tail else last_boxed(tail[-LONGEST_TAIL:])


def check_gold(gold: str) -> None:
    """Raise DataError for an answer of ours that is empty or no mathematics that can be read."""
    _read_gold(gold)


@lru_cache(maxsize=4096)
def _read_gold(gold: str) -> _Gold:
    try:
        text = normalize(last_boxed(gold) or gold)
    except UnreadableError as error:
        raise DataError(f"its answer {gold!r:.200} cannot be read: {error}") from None
    if not text:
        raise DataError("its answer is empty")
    try:
        return _Gold(text, read(text))
    except TooMuchError:
        return _Gold(text, None)
    except (UnreadableError, RecursionError):
        if not _SOMETHING.search(text) or not _is_balanced(text):
            message = f"its answer {text!r:.200} is no mathematics that can be read"
            raise DataError(message) from None
    return _Gold(text, None)


def _is_balanced(text: str) -> bool:
    depths = [0]
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depths.append(depths[-1] + (1 if brace == "{" else -1))
    return min(depths) == depths[-1] == 0


def _spelling(text: str) -> str:
    """``text`` without the white space and braces that change nothing."""
    text = re.sub(r"(?<!\\)\{([0-9A-Za-z])\}", r" \1 ", text)
    return _LOOSE_SPACE.sub("", " ".join(text.split())).strip()


@lru_cache(maxsize=8192)
def _decide(gold: str, extracted: str) -> _Decision:
    expected = _read_gold(gold)
    try:
        return _compare(expected, normalize(extracted))
    except UnreadableError as error:
        return _Decision(False, "unparseable", str(error))
    except (TooMuchError, RecursionError) as error:
        return _Decision(False, "over_limit", str(error))
    except symbolic.SymbolicTimeoutError as error:
        return _Decision(False, "timeout", str(error))


def _compare(expected: _Gold, answer: str) -> _Decision:
    if not answer:
        raise UnreadableError("an empty box")
    if _spelling(answer) == _spelling(expected.text):
        return _Decision(True, "ok", "identical")
    if letter := choices.choice_of_gold(expected.text):
        chosen = choices.choice_of(answer)
        if chosen is not None:
            return _Decision(chosen == letter, "ok", "choice")
    if isinstance(expected.answer, Words):
        return _Decision(read_words(answer) == expected.answer, "ok", "words")
    try:
        reading = read(answer)
        if expected.answer is not None:
            return _Decision(same(expected.answer, reading), "ok", type(reading).__name__.lower())
    except UnreadableError:
        if not symbolic.is_beyond_grammar(answer):
            raise
    return _ask_symbolic(expected.text, answer)


def _ask_symbolic(expected: str, answer: str) -> _Decision:
    if not any(map(symbolic.is_beyond_grammar, (expected, answer))):
        return _Decision(False, "ok", "beyond the grammar")
    check_text(expected)
    check_text(answer)
    return _Decision(symbolic.equal(expected, answer), "ok", "math-verify")


class MathAnswer:
    """Reward of ``verify``."""

    bounds = (0.0, 1.0)
    needs_answer = True

    def check_problem(self, problem: Problem) -> None:
        """Refuse a problem whose answer is missing or no mathematics that can be read."""
        if problem.answer is None:
            raise DataError("it has no answer to compare with")
        check_gold(problem.answer)

    def example(self, problem: Problem) -> str:
        """A completion that ends in the answer."""
        return f"<think>...</think>The answer is \\boxed{{{problem.answer}}}."

    def __call__(self, problem: Problem, completion: str) -> Score:
        """Score ``completion`` against ``problem.answer``."""
        if problem.answer is None:
            raise DataError("it has no answer to compare with")
        verdict = verify(problem.answer, completion)
        return Score(
            value=float(verdict.correct),
            parts={"correct": float(verdict.correct)},
            outcome=verdict.outcome,
        )
