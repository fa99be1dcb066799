"""The sections of reinforcement learning: how completions are sampled and become a gradient."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlreason.config.control import EntropyControlSection, KlControlSection, RefillSection
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
    refill: RefillSection | None = None
    """Replaces groups whose scores are all equal by newly drawn problems; null: does not."""
    vllm: dict[str, Any] = Field(default_factory=dict)
    """Passed to vLLM's engine as they are; they win over what rlreason derives."""

    @model_validator(mode="after")
    def _refill_can_add_something(self) -> Self:
        if self.refill is not None and self.refill.max_extra * self.problems_per_step < 1:
            raise ValueError(
                f"refill.max_extra = {self.refill.max_extra} of problems_per_step = "
                f"{self.problems_per_step} is less than one problem; raise it, or leave refill out"
            )
        return self


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
    """Coefficient of KL(policy, reference); 0 loads no reference."""
    kl_in: Literal["loss", "reward_sum", "reward_mean"] = "loss"
    """Where the KL term acts: in the loss, or subtracted from a completion's reward before the
    advantages, summed or averaged over its tokens."""
    kl_control: KlControlSection | None = None
    """Moves ``kl`` towards a target; null: it stays."""
    reference_every: int = Field(default=0, ge=0)
    """Steps after which the current policy becomes the reference; 0: the starting policy stays."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Schulman's estimators; k3 is unbiased and never negative."""
    entropy_bonus: float = Field(default=0.0, ge=0)
    """Coefficient of the mean token entropy, subtracted from the loss."""
    entropy_control: EntropyControlSection | None = None
    """Moves ``entropy_bonus`` to keep an entropy; null: it stays."""
    importance_cap: float | None = Field(default=None, gt=0)
    """Truncates per-token weights exp(learner - rollout logprob) that correct for the sampler;
    null applies none."""

    @property
    def needs_greedy(self) -> bool:
        """Whether each group is compared with a greedy completion of its problem."""
        return False

    @model_validator(mode="after")
    def _kl_fields_have_a_coefficient(self) -> Self:
        idle = {
            "kl_in": self.kl_in != "loss",
            "kl_control": self.kl_control is not None,
            "reference_every": self.reference_every > 0,
        }
        named = [name for name, is_set in idle.items() if is_set]
        if named and self.kl == 0:
            raise ValueError(
                f"{' and '.join(named)}: nothing to act on while kl = 0; set kl above 0"
            )
        return self

    @model_validator(mode="after")
    def _a_penalty_is_not_normalized(self) -> Self:
        if self.kl_in != "loss" and self.advantage == "group_normalized":
            raise ValueError(
                f"kl_in = {self.kl_in} with advantage = group_normalized: a group whose scores are "
                "equal would be normalised to the full size of an advantage by its penalties "
                "alone, however small kl is; use advantage = centered, or kl_in = loss"
            )
        return self

    @model_validator(mode="after")
    def _the_bonus_fits_its_control(self) -> Self:
        control = self.entropy_control
        if control is not None and self.entropy_bonus > control.highest:
            raise ValueError(
                f"entropy_bonus = {self.entropy_bonus} is above entropy_control.highest = "
                f"{control.highest}"
            )
        return self
