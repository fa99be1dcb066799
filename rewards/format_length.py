r"""Format and length in place of the answer: a reward without ground truth (arXiv 2505.19439).

    reward: {use: "rewards.format_length:FormatLength", max_tokens: 3072, format: boxed_math}

    R_f = weight if the format is right, else 0
    x   = min(1, L / max_tokens)          L = sampled tokens, the end-of-turn token included
    R_l = 1 - (1 - x/p)^2                 for x <= p:  0 at x = 0, 1 at x = p
    R_l = 1 - 2 ((x - p)/(1 - p))^2       for x > p:   0 at p + (1 - p)/sqrt(2), -1 at x = 1
    R   = R_f + R_l if the format is right, else min(0, R_l)

The curve ``polyline`` joins the same three points by straight lines. The paper states weight 1, its
released code uses 0.5. The peak is a guess at the length of right answers: where that guess is
wrong, or where length says nothing, this reward teaches length alone (see README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rewards.formats import FormatMode, check_format
from rlreason.types import Problem, Score


class FormatLengthConfig(BaseModel):
    """Options of FormatLength."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_tokens: int = Field(ge=1)
    """Lmax: as a rule ``rollout.max_completion_tokens``. Longer ones count as this long."""
    peak: float = Field(default=0.5, gt=0, le=1)
    """p: the share of max_tokens that earns most."""
    weight: float = Field(default=1.0, gt=0)
    """What a right format is worth: 1 in the paper, 0.5 in its released code."""
    curve: Literal["quadratic", "polyline"] = "quadratic"
    """Shape of the length term."""
    terms: Literal["both", "format", "length"] = "both"
    """``format``: R_f alone; ``length``: R_l alone. The two controls of the combination."""
    format: FormatMode = "boxed_math"
    """What a right format is; see formats.py."""


class FormatLength:
    """Rewards form; parts ``format`` (0 or 1) and ``length`` (R_l)."""

    Config = FormatLengthConfig
    needs_answer = False
    needs_tokens = True

    def __init__(self, config: FormatLengthConfig) -> None:
        self._config = config
        self.bounds = {
            "both": (-1.0, config.weight + 1.0),
            "format": (0.0, config.weight),
            "length": (-1.0, 1.0),
        }[config.terms]

    def __call__(
        self, problem: Problem, completion: str, *, completion_ids: Sequence[int]
    ) -> Score:
        """Score ``completion`` of ``len(completion_ids)`` tokens; no answer is looked at."""
        del problem
        config = self._config
        length = length_reward(
            len(completion_ids) / config.max_tokens, peak=config.peak, curve=config.curve
        )
        verdict = check_format(config.format, completion)
        right = verdict == "right"
        parts = {"format": float(right), "length": length}
        if verdict == "over_limit" and config.terms != "length":
            return Score(value=self.bounds[0], parts=parts, outcome="over_limit")
        return Score(value=self._value(right, length), parts=parts)

    def _value(self, right: bool, length: float) -> float:
        if self._config.terms == "length":
            return length
        earned = self._config.weight if right else 0.0
        if self._config.terms == "format":
            return earned
        return earned + length if right else min(0.0, length)


def length_reward(x: float, *, peak: float, curve: Literal["quadratic", "polyline"]) -> float:
    """R_l of the module's formula; ``x`` is the length as a share of the longest."""
    x = min(1.0, x)
    if x <= peak:
        short = 1 - x / peak
        return 1 - (short**2 if curve == "quadratic" else short)
    long = (x - peak) / (1 - peak)
    return 1 - 2 * (long**2 if curve == "quadratic" else long)
