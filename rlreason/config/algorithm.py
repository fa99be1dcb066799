"""The sections of reinforcement learning: how completions are sampled and become a gradient."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlreason.config.control import EntropyControlSection, KlControlSection, RefillSection
from rlreason.config.sections import Section

AdvantageName = Literal[
    "group_normalized", "centered", "leave_one_out", "batch_normalized", "reinforce_pp",
    "reinforce_pp_baseline", "remax", "gdpo", "accepted", "best_of_group",
]  # fmt: skip
"""The keys of ``algorithms.advantages.ADVANTAGES``."""
LossName = Literal[
    "clipped", "cispo", "gspo", "p3o", "p3o_joint", "reinforce", "likelihood", "distillation"
]
"""The keys of ``algorithms.losses.LOSSES``."""
AggregationName = Literal["token_mean", "sequence_mean", "constant"]
"""The keys of ``algorithms.aggregation.AGGREGATIONS``."""
Correction = Literal["token_truncated", "sequence_truncated", "token_masked", "sequence_masked"]
"""What ``algorithms.offpolicy.importance_weights`` knows."""
PROCESSED = "processed_logprobs"
"""vLLM's name for logprobs after temperature and any cut-off."""


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
    lag: Literal[0, 1] = 0
    """Versions that sampling may be behind. 1: the engine samples step k + 1 while the learner
    works on step k (backend ray); ``algorithm.correction`` is then token_truncated at 2.0 unless
    the recipe names another."""
    refill: RefillSection | None = None
    """Replaces groups whose scores are all equal by newly drawn problems; null: does not."""
    vllm: dict[str, Any] = Field(default_factory=dict)
    """Passed to vLLM's engine as they are; they win over what rlreason derives. What would make
    the logprobs others than those sampled with is refused."""

    @model_validator(mode="after")
    def _logprobs_are_of_what_is_sampled_from(self) -> Self:
        mode = self.vllm.get("logprobs_mode", PROCESSED)
        if mode != PROCESSED:
            raise ValueError(
                f"vllm.logprobs_mode = {mode}: these are not the probabilities that tokens are "
                "drawn with as soon as a temperature, top-p or top-k acts, so every importance "
                f"ratio and the proof of arrival would be wrong; leave it out ({PROCESSED})"
            )
        override = self.vllm.get("override_generation_config")
        if override is not None:
            raise ValueError(
                f"vllm.override_generation_config = {override}: completions are drawn from the "
                "whole distribution at rollout.temperature, because cut-off sampling (top-p, "
                "top-k, min-p) has a policy that the learner does not train; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _refill_can_add_something(self) -> Self:
        if self.refill is not None and self.refill.max_extra * self.problems_per_step < 1:
            raise ValueError(
                f"refill.max_extra = {self.refill.max_extra} of problems_per_step = "
                f"{self.problems_per_step} is less than one problem; raise it, or leave refill out"
            )
        return self

    @property
    def tensor_parallel(self) -> int:
        """Processes, and GPUs, that one engine's weights are cut over."""
        return int(self.vllm.get("tensor_parallel_size") or 1)


class AlgorithmSection(Section):
    """How completions become a gradient. ``rlreason/algorithms/README.md`` has every formula."""

    advantage: AdvantageName = "group_normalized"
    """How much better a completion did: than its group (group_normalized GRPO, centered Dr.GRPO,
    leave_one_out RLOO, reinforce_pp_baseline), in units of the step (batch_normalized), than the
    step (reinforce_pp), than the greedy completion (remax), part by part of the reward (gdpo); or
    what to imitate: accepted, best_of_group (RAFT)."""
    accept_from: float = 1.0
    """Lowest reward that advantage accepted or best_of_group takes."""
    part_weights: dict[str, float] = Field(default_factory=dict)
    """Weights of the reward's parts for advantage gdpo, by name."""
    loss: LossName = "clipped"
    """clipped (PPO, GRPO, DAPO), cispo, gspo, p3o and p3o_joint (its V1 and V2), reinforce,
    likelihood (of accepted or given completions), distillation (from a teacher)."""
    aggregation: AggregationName = "token_mean"
    """Mean over the update's tokens (DAPO), over sequences of their token means (GRPO's paper,
    GSPO), or the sum over a constant (Dr.GRPO)."""
    tokens_per_sequence: int | None = Field(default=None, ge=1)
    """The constant of aggregation constant; rollout.max_completion_tokens is usual."""
    clip_low: float = Field(default=0.2, ge=0, le=1)
    """Trust region below ratio 1; 1 is none."""
    clip_high: float = Field(default=0.2, ge=0)
    """Trust region above ratio 1; larger than clip_low is DAPO's clip-higher."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Largest ratio that counts against a completion (loss clipped); null: unbounded."""
    pair_ratio: Literal["sequence", "token_mean"] = "sequence"
    """Ratios of p3o: of whole sequences as in the paper, or length-normalised."""
    mask_truncated: bool = False
    """Leave completions that were cut at the token limit out of the loss (DAPO's overlong
    filtering); their rewards still count in the others' advantages."""
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
    teacher: str | None = None
    """The model that loss distillation learns from, named like model.path; it has the policy's
    tokenizer. Rewards are still computed, for the log and the curriculum."""
    correction: Correction | None = None
    """Importance weights exp(learner - rollout logprob) that correct for the sampler: of tokens or
    of sequences, truncated at the cap or masked outside [1/cap, cap]; null applies none. What acts
    when it is not named depends on ``rollout.lag``."""
    importance_cap: float | None = Field(default=None, ge=1)
    """Bound of the weights of ``correction``."""

    @property
    def needs_greedy(self) -> bool:
        """Whether each group is compared with a greedy completion of its problem."""
        return self.advantage == "remax"

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
        if self.kl_in != "loss" and self.advantage in ("gdpo", "accepted", "best_of_group"):
            raise ValueError(
                f"kl_in = {self.kl_in} with advantage = {self.advantage}, which reads the reward "
                "itself or its parts and not the reward less a penalty; use kl_in = loss"
            )
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

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        rules = (
            *_loss_rules(self),
            (
                (self.aggregation == "constant") != (self.tokens_per_sequence is not None),
                "aggregation = constant and tokens_per_sequence need each other; set both "
                "(rollout.max_completion_tokens is the usual constant) or neither",
            ),
            (
                (self.correction is None) != (self.importance_cap is None),
                f"correction = {self.correction} and importance_cap = {self.importance_cap} need "
                "each other; token_truncated with 2.0 is usual",
            ),
            (
                (self.advantage == "gdpo") != bool(self.part_weights),
                "advantage = gdpo and part_weights need each other: name the parts of the reward "
                "with their weights, or choose another advantage",
            ),
        )
        for broken, reason in rules:
            if broken:
                raise ValueError(reason)
        return self


def _loss_rules(section: AlgorithmSection) -> tuple[tuple[bool, str], ...]:
    """(broken, reason) for the options that belong to some losses alone."""
    loss, pairwise = section.loss, section.loss in ("p3o", "p3o_joint")
    default = {name: field.default for name, field in type(section).model_fields.items()}
    clips = (section.clip_low, section.clip_high)
    return (
        (
            section.dual_clip is not None and loss != "clipped",
            f"dual_clip = {section.dual_clip} is an option of loss clipped; loss = {loss} has none",
        ),
        (
            section.dual_clip is not None and section.dual_clip <= 1 + section.clip_high,
            f"dual_clip = {section.dual_clip} must be above 1 + clip_high = "
            f"{1 + section.clip_high:g}, or it would replace the clip",
        ),
        (
            pairwise and section.aggregation != "sequence_mean",
            f"loss = {loss} compares whole completions; it needs aggregation = sequence_mean",
        ),
        (
            pairwise and clips[0] != clips[1],
            f"loss = {loss} has one clip around the ratio; set clip_low = clip_high",
        ),
        (
            not pairwise and section.pair_ratio != default["pair_ratio"],
            f"pair_ratio = {section.pair_ratio} is an option of p3o; loss = {loss} has no pairs",
        ),
        (
            loss in ("reinforce", "likelihood")
            and clips != (default["clip_low"], default["clip_high"]),
            f"clip_low and clip_high have no effect on loss = {loss}, which has no ratio to clip",
        ),
        (
            loss == "likelihood" and section.correction is not None,
            f"correction = {section.correction} has no effect to correct for: loss = likelihood "
            "imitates completions, whoever made them",
        ),
    )
