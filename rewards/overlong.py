"""DAPO's soft punishment of overlong completions (arXiv 2503.14476).

    0                                     for L <= max_tokens - buffer
    (max_tokens - buffer - L) / buffer    up to max_tokens
    -1                                    beyond

``L`` counts the sampled tokens, the end-of-turn token included. Meant as a part of a
``rewards.weighted_sum:WeightedSum`` beside correctness; ``max_tokens`` below
``rollout.max_completion_tokens`` leaves room beyond, and equal to it -1 is what a cut one scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rlreason.types import Problem


class OverlongConfig(BaseModel):
    """Options of Overlong."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_tokens: int = Field(ge=1)
    """Length from which the punishment is full."""
    buffer: int = Field(ge=1)
    """Tokens before max_tokens over which it grows."""

    @model_validator(mode="after")
    def _buffer_fits(self) -> Self:
        if self.buffer > self.max_tokens:
            raise ValueError(f"buffer = {self.buffer} is more than max_tokens = {self.max_tokens}")
        return self


class Overlong:
    """A penalty between 0 and -1 for completions near the limit."""

    Config = OverlongConfig
    bounds = (-1.0, 0.0)
    needs_answer = False
    needs_tokens = True

    def __init__(self, config: OverlongConfig) -> None:
        self._config = config

    def __call__(
        self, problem: Problem, completion: str, *, completion_ids: Sequence[int]
    ) -> float:
        """Punish by length alone."""
        del problem, completion
        free = self._config.max_tokens - self._config.buffer
        return max(-1.0, min(0.0, (free - len(completion_ids)) / self._config.buffer))
