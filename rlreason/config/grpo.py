"""One reinforcement-learning run: ``kind: grpo``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlreason.config.algorithm import AlgorithmSection, RolloutSection
from rlreason.config.sections import (
    ClusterSection,
    EvaluationSection,
    LearnerSection,
    LogSection,
    ModelSection,
    PluginConfig,
    PoolSection,
    PromptSection,
    RunSection,
    ScoringSection,
    Section,
)

LAG_CORRECTION = {"correction": "token_truncated", "importance_cap": 2.0}
"""What corrects for a sampler that is one version behind, unless the recipe says otherwise."""


class GrpoConfig(Section):
    """One GRPO run: what ``rlreason train`` reads for ``kind: grpo``."""

    kind: Literal["grpo"] = "grpo"
    """The kind of run."""
    run: RunSection = RunSection()
    model: ModelSection
    prompt: PromptSection = PromptSection()
    pools: tuple[PoolSection, ...] = Field(min_length=1)
    curriculum: PluginConfig = PluginConfig(use="curricula.dump:Dump")
    """How often each pool is drawn."""
    scoring: ScoringSection = ScoringSection()
    rollout: RolloutSection = RolloutSection()
    algorithm: AlgorithmSection = AlgorithmSection()
    learner: LearnerSection = LearnerSection()
    cluster: ClusterSection = ClusterSection()
    evaluation: EvaluationSection = EvaluationSection()
    log: LogSection = LogSection()

    @model_validator(mode="before")
    @classmethod
    def _lag_is_corrected(cls, data: Any) -> Any:
        """Fill in the correction that ``rollout.lag = 1`` needs; an explicit null stays."""
        if not isinstance(data, Mapping):
            return data
        rollout, algorithm = data.get("rollout"), data.get("algorithm", {})
        if not isinstance(rollout, Mapping) or not isinstance(algorithm, Mapping):
            return data
        named = not LAG_CORRECTION.keys().isdisjoint(algorithm)
        if rollout.get("lag") != 1 or named or algorithm.get("loss") == "likelihood":
            return data
        return {**data, "algorithm": {**algorithm, **LAG_CORRECTION}}

    @model_validator(mode="after")
    def _a_lagging_reward_is_settled(self) -> Self:
        """The next step is sampled and scored while an update is under way."""
        algorithm = self.algorithm
        moving = {
            "kl_control": algorithm.kl_control is not None,
            "reference_every": algorithm.reference_every > 0,
        }
        named = [f"algorithm.{name}" for name, is_set in moving.items() if is_set]
        if self.rollout.lag and algorithm.kl_in != "loss" and named:
            raise ValueError(
                f"rollout.lag = 1 with algorithm.kl_in = {algorithm.kl_in} and "
                f"{' and '.join(named)}: the next step is scored while the update that moves them "
                "is under way; use kl_in = loss, leave them out, or set lag = 0"
            )
        return self

    @model_validator(mode="after")
    def _pools_are_complete(self) -> Self:
        names = [pool.name for pool in self.pools]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"pools: the names {repeated} occur twice; a pool's name is unique")
        bare = [pool.name for pool in self.pools if pool.reward is None]
        if bare and self.scoring.reward is None:
            raise ValueError(
                f"pools {bare} name no reward; set scoring.reward, or a reward in each pool"
            )
        return self

    @model_validator(mode="after")
    def _updates_fit_the_step(self) -> Self:
        if self.algorithm.updates_per_step > self.rollout.problems_per_step:
            raise ValueError(
                f"algorithm.updates_per_step = {self.algorithm.updates_per_step} is more than "
                f"rollout.problems_per_step = {self.rollout.problems_per_step}; an update needs "
                "at least one group"
            )
        return self

    @model_validator(mode="after")
    def _a_teacher_has_a_pupil(self) -> Self:
        loss, teacher = self.algorithm.loss, self.algorithm.teacher
        if (loss == "distillation") != (teacher is not None):
            raise ValueError(
                f"algorithm.loss = {loss} and algorithm.teacher = {teacher}: loss distillation "
                "and a teacher need each other; set both or neither"
            )
        if loss == "distillation" and self.rollout.refill is not None:
            raise ValueError(
                "rollout.refill replaces groups whose scores are equal, but loss distillation "
                "learns from every completion whatever its score; leave refill out"
            )
        return self

    @model_validator(mode="after")
    def _the_engine_can_hold_the_adapter(self) -> Self:
        lora = self.learner.lora
        if lora is None:
            return self
        if lora.dropout > 0:
            raise ValueError(
                f"learner.lora.dropout = {lora.dropout}: the engine samples without dropout, so "
                "every ratio between learner and engine would be noise; set it to 0"
            )
        ranks = self.rollout.tensor_parallel
        if lora.publish == "adapter" and ranks > 1:
            raise ValueError(
                f"learner.lora.publish = adapter with rollout.vllm.tensor_parallel_size = {ranks}: "
                "that an adapter arrived cannot be proved where it is cut into parts; use "
                "publish = merged"
            )
        if lora.publish == "adapter" and self.cluster.weight_sync != "shared_memory":
            raise ValueError(
                f"learner.lora.publish = adapter with cluster.weight_sync = "
                f"{self.cluster.weight_sync}: that carries whole weights; an adapter is small, "
                "take weight_sync: shared_memory"
            )
        return self

    def reward_of(self, pool: PoolSection) -> PluginConfig:
        """The reward that scores ``pool`` in training."""
        reward = pool.reward or self.scoring.reward
        assert reward is not None, "checked by _pools_are_complete"
        return reward
