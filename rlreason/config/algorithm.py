"""The sections of reinforcement learning: how completions are sampled and become a gradient."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rlreason.config.sections import Section


class RolloutSection(Section):
    """How completions are sampled."""

    problems_per_step: int = Field(default=16, ge=1)
    """Problems drawn per step."""
    group_size: int = Field(default=8, ge=2)
    """Completions per problem. At least 2: an advantage compares a completion with its group."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature; logprobs are of the tempered distribution."""
    max_completion_tokens: int = Field(default=2048, ge=1)
    """Longest completion; longer ones are cut with finish_reason ``length``."""
    replacement: bool = False
    """Draw problems inside a pool with replacement (DUMP's code); else each once per pass."""
    vllm: dict[str, Any] = Field(default_factory=dict)
    """Passed to vLLM's engine as they are; they win over what rlreason derives."""


class AlgorithmSection(Section):
    """How completions become a gradient."""

    advantage: Literal["group_normalized", "centered"] = "group_normalized"
    """GRPO's (reward - mean) / (std + 1e-6), or Dr.GRPO's reward - mean."""
    loss: Literal["clipped"] = "clipped"
    """PPO's clipped surrogate, averaged over the update's tokens."""
    clip_low: float = Field(default=0.2, ge=0, lt=1)
    """Trust region below ratio 1."""
    clip_high: float = Field(default=0.2, ge=0)
    """Trust region above ratio 1; larger than clip_low is DAPO's clip-higher."""
    updates_per_step: int = Field(default=1, ge=1)
    """Optimizer updates per step; above 1 the later ones are slightly off-policy."""
    kl: float = Field(default=0.0, ge=0)
    """Coefficient of KL(policy, starting policy) in the loss; 0 loads no reference."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Schulman's estimators; k3 is unbiased and never negative."""
    entropy_bonus: float = Field(default=0.0, ge=0)
    """Coefficient of the mean token entropy, subtracted from the loss."""
    importance_cap: float | None = Field(default=None, gt=0)
    """Truncates per-token weights exp(learner - rollout logprob) that correct for the sampler;
    null applies none."""
