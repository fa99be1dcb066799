r"""What is probed: problems with wrong answers, and the form that right completions have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlreason.errors import ConfigError
from rlreason.reward_check.wrong_answers import is_words, wrong_answers
from rlreason.types import Problem

Form = Callable[[Problem, str], str]
"""(problem, answer) -> a completion that gives this answer as the reward wants it."""

ANSWER = "{answer}"
"""What a form given as text has for the answer."""
FORMS = (
    r"<think>...</think>The answer is \boxed{{answer}}.",
    r"<think>...</think>\boxed{{answer}}",
    "<think>\n...\n</think>\n\n\\boxed{{answer}}",
    "<think>...</think><answer>{answer}</answer>",
    r"\boxed{{answer}}",
    "The answer is {answer}",
    "#### {answer}",
    "{answer}",
)
"""Tried in turn for a reward that gives no example."""

_SHAPES = {
    "integers": ("12", "-35", "1024"),
    "fractions": ("3/4", r"\frac{5}{8}", "2.5"),
    "expressions": ("x^2+1",),
    "words": ("north", "Monday"),
    "roles": ("Zoe is a knight, and Bob is a knave.", "Ann is a knave, and Max is a knight."),
}
_ANY = "0"
"""Stands for an answer where the reward does not look at them."""
_PLAIN = ("integers", "fractions", "expressions", "words")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A problem to probe the reward with."""

    problem: Problem
    wrong: tuple[str, ...]
    """Answers that must not be rewarded; at least one."""
    form: Form

    @property
    def answer(self) -> str:
        """The right answer; the empty text where there is none."""
        return self.problem.answer or ""

    def completion(self, answer: str) -> str:
        """A completion that gives ``answer``."""
        return self.form(self.problem, answer)


def built_in_problems() -> list[Problem]:
    """Problems with answers of several shapes, the plain ones first."""
    return [
        Problem(id=f"{shape}-{index}", pool="built-in", prompt="What is it?", answer=answer)
        for shape, answers in _SHAPES.items()
        for index, answer in enumerate(answers)
    ]


def plain_ones(problems: Sequence[Problem]) -> list[Problem]:
    """Without the sentences about roles, if anything else is there.

    A reward of mathematics may read a sentence as a product of letters; that is no use of it.
    """
    plain = [problem for problem in problems if problem.id.partition("-")[0] in _PLAIN]
    return plain or list(problems)


def form_of(text: str) -> Form:
    """The form that ``text`` describes.

    Raises:
        ConfigError: If it has no place for the answer.
    """
    if ANSWER not in text:
        raise ConfigError(f"--gold {text!r}: needs {ANSWER} where the answer belongs")
    return lambda _, answer: text.replace(ANSWER, answer)


def example_form(reward: Any) -> Form | None:
    """The reward's own ``example``, if it has one."""
    example = getattr(reward, "example", None)
    if example is None:
        return None
    return lambda problem, answer: str(example(replace(problem, answer=answer)))


def subjects(problems: Sequence[Problem], form: Form) -> list[Subject]:
    """The problems with wrong answers; some in words are lent by other problems."""
    words = [p.answer for p in problems if p.answer is not None and is_words(p.answer)]
    return [
        Subject(
            problem=problem,
            wrong=tuple(wrong_answers(problem.answer or "", words)) or (_ANY,),
            form=form,
        )
        for problem in problems
    ]
