"""Who is a knight and who is a knave: DUMP's reward (arXiv 2504.09710, section 4.1).

    reward: rewards.knights_knaves:KnightsKnaves

    structure   +1 for one <think>...</think> and then one <answer>...</answer> that ends the
                completion, else -1
    answer      +2 everyone right, -1.5 everyone named but someone wrong, -2 anything else;
                -2 without the structure

So a completion scores 3, -0.5, -1 or -3. Roles may have any names ("Zoe is an egoist"), as
reasoning-gym gives them; each person must be named once, and no role more often than that: as in
the paper's code, "Zoe is a knight, not a knave" cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rlreason.errors import DataError
from rlreason.types import Problem, Score

_ROLES = ("knight", "knave")
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# No slash behind a role: "a knight/knave", copied from the question, decides nothing.
_CLAIM = re.compile(r"\b(\w+) is an? (\w+)\b(?!/)")


class KnightsKnaves:
    """Rewards structure and assignment; parts ``format`` and ``correct`` tell them apart."""

    bounds = (-3.0, 3.0)
    needs_answer = True

    def check_problem(self, problem: Problem) -> None:
        """Refuse a problem whose answer is missing or does not say who is what."""
        _expected(problem)

    def example(self, problem: Problem) -> str:
        """A completion with the structure and the answer."""
        return f"<think>...</think><answer>{problem.answer}</answer>"

    def __call__(self, problem: Problem, completion: str) -> Score:
        """Score ``completion``; without the structure the outcome is unparseable."""
        expected = _expected(problem)
        answer = _answer(completion)
        claimed = _assignment(answer) if answer is not None else None
        named = (
            answer is not None
            and claimed is not None
            and claimed.keys() == expected.keys()
            and _mentions(answer, {*_ROLES, *expected.values(), *claimed.values()}) == len(expected)
        )
        correct = named and claimed == expected
        value = (-1.0 if answer is None else 1.0) + (2.0 if correct else -1.5 if named else -2.0)
        return Score(
            value=value,
            parts={"correct": float(correct), "format": float(answer is not None)},
            # Without the structure alone: an assignment that cannot be read is above the floor.
            outcome="ok" if answer is not None else "unparseable",
        )


def _mentions(text: str, roles: set[str]) -> int:
    """How often any of the roles is named."""
    return sum(word in roles for word in re.findall(r"\w+", text.lower()))


def _expected(problem: Problem) -> Mapping[str, str]:
    if problem.answer is None:
        raise DataError("it has no answer to compare the assignment with")
    expected = _assignment(problem.answer)
    if expected is None:
        raise DataError(f"answer {problem.answer!r:.80} does not say who is what")
    return expected


def _answer(completion: str) -> str | None:
    """What stands between the answer tags, if the four tags stand once, in order, at the end."""
    text = completion.rstrip()
    if any(text.count(tag) != 1 for tag in _TAGS) or not text.endswith("</answer>"):
        return None
    places = [text.index(tag) for tag in _TAGS]
    if places != sorted(places):
        return None
    return text[places[2] + len("<answer>") : places[3]]


def _assignment(text: str) -> Mapping[str, str] | None:
    """Person -> role, lower case; None if nobody is named or somebody twice."""
    claims = [(name.lower(), role.lower()) for name, role in _CLAIM.findall(text)]
    assignment = dict(claims)
    return assignment if claims and len(assignment) == len(claims) else None
