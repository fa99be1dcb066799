"""Another reward turned upside down: what it calls best scores lowest.

    reward: {use: "rewards.inverted:Inverted", reward: {use: "rewards.math_answer:MathAnswer"}}

    value = lowest + highest - the other reward's value

A control: a policy that improves although wrong answers are rewarded does not learn from answers. A
completion without an answer (unparseable and the like) stays at the floor: it has no label to turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from rewards.inner_reward import InnerReward, InnerRewardConfig
from rlreason.types import Problem, Score


class InvertedConfig(BaseModel):
    """Options of Inverted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    reward: InnerRewardConfig
    """The reward to turn: ``{use: path, options...}``."""


class Inverted:
    """The inverted label; the parts are those of the other reward, as it sees them."""

    Config = InvertedConfig

    def __init__(self, config: InvertedConfig) -> None:
        self._inner = InnerReward(config.reward, where="reward.reward")
        self.bounds = self._inner.bounds
        self.needs_answer = self._inner.needs_answer
        self.needs_tokens = self._inner.needs_tokens

    def check_problem(self, problem: Problem) -> None:
        """As the other reward would."""
        self._inner.check_problem(problem)

    def __call__(
        self, problem: Problem, completion: str, *, completion_ids: Sequence[int] | None = None
    ) -> Score:
        """Mirror the other reward's value in the middle of its bounds."""
        score = self._inner.score(problem, completion, completion_ids)
        if score.outcome != "ok":
            return score
        low, high = self.bounds
        value = min(high, max(low, low + high - score.value))  # rounding may step outside
        return Score(value=value, parts=score.parts)
