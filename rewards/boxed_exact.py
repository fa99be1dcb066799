r"""1 when the completion's box holds the answer, character by character, else 0.

    reward: rewards.boxed_exact:BoxedExact

Made for the tiny arithmetic tasks with completions like ``<think>7+5+0=12</think>\boxed{12}``.
With ``strict_format`` (the default) a completion must be exactly that: one think block, directly
followed by one box, and nothing else but white space at the end. Without it the last box decides.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rewards.boxes import last_boxed
from rewards.formats import is_strict_think
from rlreason.errors import DataError
from rlreason.types import Problem, Score


class BoxedExactConfig(BaseModel):
    """Options of BoxedExact."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    strict_format: bool = True
    """Reward a right answer only in the exact format."""


class BoxedExact:
    """Exact match of the box; parts ``correct`` and ``format`` tell the two apart."""

    Config = BoxedExactConfig
    bounds = (0.0, 1.0)
    needs_answer = True

    def __init__(self, config: BoxedExactConfig) -> None:
        self._strict_format = config.strict_format

    def check_problem(self, problem: Problem) -> None:
        """Refuse a problem whose answer no box could hold."""
        if problem.answer is None:
            raise DataError("it has no answer to compare the box with")
        if self._strict_format and not {"{", "}"}.isdisjoint(problem.answer):
            raise DataError(
                f"its answer {problem.answer!r:.80} has braces, which the box of the strict format "
                "does not hold; set strict_format: false"
            )

    def example(self, problem: Problem) -> str:
        """The completion that is exactly as it should be."""
        return f"<think>...</think>\\boxed{{{problem.answer}}}"

    def __call__(self, problem: Problem, completion: str) -> Score:
        """Score ``completion``; without a box the outcome is unparseable."""
        self.check_problem(problem)
        assert problem.answer is not None, "checked above"
        boxed = last_boxed(completion)
        correct = boxed is not None and boxed.strip() == problem.answer.strip()
        formatted = is_strict_think(completion)
        right = correct and (formatted or not self._strict_format)
        return Score(
            value=float(right),
            parts={"correct": float(correct), "format": float(formatted)},
            outcome="ok" if boxed is not None else "unparseable",
        )
