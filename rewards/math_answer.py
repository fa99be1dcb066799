r"""1 when the completion's last box equals the answer as mathematics, else 0.

    reward: rewards.math_answer:MathAnswer

The last ``\boxed{...}`` after the reasoning (after ``</think>``, if there is one) counts. Equality
is exact: 0.333 is not 1/3. Integers, decimals and fractions are compared by python's own numbers;
everything else by math-verify, whose own time limits are off because the worker's is on. Text of
the model is only ever parsed as LaTeX: math-verify's plain-expression parser evaluates python, so
it is not used.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import math_verify

from rewards.boxes import last_boxed
from rlreason.errors import DataError
from rlreason.types import Outcome, Problem, Score

# math-verify warns that its time limits are off; here that is meant.
logging.getLogger("math_verify").setLevel(logging.ERROR)

_LONGEST_TAIL = 16 * 1024
_MAX_DEPTH = 64
_LONGEST_NUMBER = 1000
_FLOAT_DIGITS = 12
_LATEX = [math_verify.LatexExtractionConfig()]

_INTEGER = r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = re.compile(rf"(?:{_INTEGER}\.?|[+-]?\.[0-9]+|{_INTEGER}\.[0-9]+)")
_SLASH = re.compile(rf"({_INTEGER}) ?/ ?({_INTEGER})")
_FRAC = re.compile(
    r"(?P<sign>[+-]?) ?\\frac ?"
    r"(?:\{ ?(?P<above>[+-]?[0-9]+) ?\}|(?P<above1>[0-9])) ?"
    r"(?:\{ ?(?P<below>[+-]?[0-9]+) ?\}|(?P<below1>[0-9]))"
)
_WORDS = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z][A-Za-z ]*")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\{([^{}]*)\}")

_TOO_MUCH = re.compile(
    rf"[0-9]{{{_LONGEST_NUMBER + 1},}}"
    r"|(?:\^|\*\*) ?[{(]? ?[+-]?(?:[0-9],?){5,}"  # a power
    r"|(?:\^|\*\*) ?[{(]? ?[0-9]+ ?[})]? ?(?:\^|\*\*)"  # a tower of powers
    r"|[0-9]{6,} ?!|![ )}\]]+!"  # a factorial, or one of a factorial
)


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


def verify(gold: str, completion: str) -> Verdict:
    """Whether ``completion`` ends in an answer equal to ``gold``.

    Raises:
        DataError: If ``gold`` itself is empty or no mathematics that can be read.
    """
    start = time.perf_counter()
    expected = _normalize(last_boxed(gold) or gold)
    _check_gold(expected)
    extracted = extract(completion)
    correct, outcome, reason = _compare(expected, extracted)
    return Verdict(
        correct=correct,
        outcome=outcome,
        extracted=extracted,
        reason=reason,
        seconds=time.perf_counter() - start,
    )


def extract(completion: str) -> str | None:
    r"""The last box after the reasoning; None without one, or while the reasoning still goes on."""
    tail = completion.rpartition("</think>")[2]
    return None if "<think>" in tail else last_boxed(tail[-_LONGEST_TAIL:])


def _compare(expected: str, extracted: str | None) -> tuple[bool, Outcome, str]:
    answer = _normalize(extracted) if extracted is not None else ""
    if not answer:
        return False, "unparseable", "no box with an answer"
    # As mathematics a word is a product of letters, equal to its anagrams: only text can compare.
    if answer == expected or _WORDS.fullmatch(expected):
        return answer.casefold() == expected.casefold(), "ok", "text"
    if _exceeds_limits(answer):
        return False, "over_limit", "beyond the limits on digits, powers, factorials or nesting"
    numbers = _number(expected), _number(answer)
    if None not in numbers:
        return numbers[0] == numbers[1], "ok", "numbers"
    parsed = _parse(answer)
    if not parsed:
        return False, "unparseable", "no mathematics in the box"
    return _equal(_parse_gold(expected), parsed), "ok", "math-verify"


def _normalize(text: str) -> str:
    text = re.sub(r"\\(?:left|right)(?![A-Za-z])|\\[!,;:]|\$", "", text)
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = text.replace("{,}", ",").replace("\N{MINUS SIGN}", "-").replace("\\ ", " ")
    text = " ".join(text.split()).removesuffix(".").rstrip()
    wrapped = _TEXT.fullmatch(text)
    return wrapped[1].strip() if wrapped else text


def _number(text: str) -> Fraction | None:
    """The rational that ``text`` spells as an integer, a decimal or a fraction, or None."""
    if len(text) > _LONGEST_NUMBER:
        return None
    if _DECIMAL.fullmatch(text):
        return Fraction(text.replace(",", ""))
    if slash := _SLASH.fullmatch(text):
        above, below = (int(part.replace(",", "")) for part in slash.groups())
    elif frac := _FRAC.fullmatch(text):
        above = int(frac["sign"] + "1") * int(frac["above"] or frac["above1"])
        below = int(frac["below"] or frac["below1"])
    else:
        return None
    return Fraction(above, below) if below else None


def _exceeds_limits(text: str) -> bool:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest > _MAX_DEPTH or _TOO_MUCH.search(text) is not None


def _parse(text: str) -> list[Any]:
    return math_verify.parse(
        f"\\boxed{{{text}}}", _LATEX, fallback_mode="no_fallback", parsing_timeout=None
    )


@lru_cache(maxsize=4096)
def _parse_gold(expected: str) -> list[Any]:
    return _parse(expected)


def _check_gold(expected: str) -> None:
    if not expected:
        raise DataError("its answer is empty")
    simple = _WORDS.fullmatch(expected) or _number(expected) is not None
    if not simple and not _parse_gold(expected):
        raise DataError(f"its answer {expected!r:.200} is no mathematics that can be read")


def _equal(expected: list[Any], answer: list[Any]) -> bool:
    return math_verify.verify(
        expected,
        answer,
        float_rounding=_FLOAT_DIGITS,
        allow_set_relation_comp=True,
        timeout_seconds=None,
    )


class MathAnswer:
    """Reward of ``verify``."""

    bounds = (0.0, 1.0)
    needs_answer = True

    def check_problem(self, problem: Problem) -> None:
        """Refuse a problem whose answer is missing or no mathematics that can be read."""
        if problem.answer is None:
            raise DataError("it has no answer to compare with")
        _check_gold(_normalize(last_boxed(problem.answer) or problem.answer))

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
