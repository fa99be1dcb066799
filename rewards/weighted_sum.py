"""A sum of named rewards, each with a weight.

    reward:
      use: rewards.weighted_sum:WeightedSum
      parts:
        correct: {use: "rewards.math_answer:MathAnswer"}
        short: {use: "rewards.overlong:Overlong", weight: 0.5, max_tokens: 512, buffer: 128}

Each part's own value is logged under its name, before its weight. The bounds are the sum's. A part
whose outcome is not ok (unparseable, over_limit) adds the least that it can; the sum takes that
outcome only if no part is ok, and is ``infra`` if one part is.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from rewards.inner_reward import InnerReward, InnerRewardConfig
from rlreason.types import Problem, Score


class PartConfig(InnerRewardConfig):
    """One summand: ``use``, ``weight``, and the options of the reward beside them."""

    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Factor of its value; a negative one makes a penalty."""


class WeightedSumConfig(BaseModel):
    """Options of WeightedSum."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    parts: dict[str, PartConfig] = Field(min_length=1)
    """Name for the log -> the reward and its weight."""


class WeightedSum:
    """Adds up its parts and logs each by name."""

    Config = WeightedSumConfig

    def __init__(self, config: WeightedSumConfig) -> None:
        self._parts = {
            name: (InnerReward(part, where=f"reward.parts.{name}"), part.weight)
            for name, part in config.parts.items()
        }
        self._spans = {
            name: _scaled(part.bounds, weight) for name, (part, weight) in self._parts.items()
        }
        self.bounds = (
            sum(low for low, _ in self._spans.values()),
            sum(high for _, high in self._spans.values()),
        )
        self.needs_answer = any(part.needs_answer for part, _ in self._parts.values())
        self.needs_tokens = any(part.needs_tokens for part, _ in self._parts.values())

    def check_problem(self, problem: Problem) -> None:
        """Every part must be able to score the problem."""
        for part, _ in self._parts.values():
            part.check_problem(problem)

    def __call__(
        self, problem: Problem, completion: str, *, completion_ids: Sequence[int] | None = None
    ) -> Score:
        """The weighted sum, with the parts as the parts see it."""
        scores = {
            name: part.score(problem, completion, completion_ids)
            for name, (part, _) in self._parts.items()
        }
        parts = {name: score.value for name, score in scores.items()}
        outcomes = [score.outcome for score in scores.values()]
        if "infra" in outcomes:
            return Score(value=self.bounds[0], parts=parts, outcome="infra")
        if "ok" not in outcomes:
            return Score(value=self.bounds[0], parts=parts, outcome=outcomes[0])
        # Added in the order of the bounds: rounding is monotone, so the sum cannot leave them.
        return Score(value=sum(self._term(name, scores[name]) for name in self._parts), parts=parts)

    def _term(self, name: str, score: Score) -> float:
        return self._parts[name][1] * score.value if score.outcome == "ok" else self._spans[name][0]


def _scaled(bounds: tuple[float, float], weight: float) -> tuple[float, float]:
    ends = (weight * bounds[0], weight * bounds[1])
    return min(ends), max(ends)
