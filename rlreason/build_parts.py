"""A learner and an engine from a recipe, in whichever process calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rlreason.config import GrpoConfig
from rlreason.data.prompts import PromptEncoder
from rlreason.memory.plan import EngineShare

if TYPE_CHECKING:
    from rlreason.learner.deepspeed_learner import DeepSpeedLearner
    from rlreason.rollout.vllm_engine import VllmEngine


class PartsPlan(NamedTuple):
    """What the parts need of the plan; it travels to other processes."""

    config: GrpoConfig
    model: Path | str
    """The model that the run started from."""
    teacher: Path | str | None
    """The model that the loss ``distillation`` learns from."""
    start: Path | str
    """Where the weights of ``version`` lie."""
    version: int
    encoder: PromptEncoder
    eos_ids: tuple[int, ...]
    max_len: int
    share: EngineShare | None = None
    """What the memory plan leaves an engine; None where no plan is made."""


def make_learner(plan: PartsPlan) -> DeepSpeedLearner:
    """The learner on the weights at ``plan.start``; the process is prepared."""
    from rlreason.learner.deepspeed_learner import DeepSpeedLearner
    from rlreason.learner.policy import load_frozen, load_model

    config = plan.config
    return DeepSpeedLearner(
        load_model(plan.start, config.model),
        plan.encoder.tokenizer,
        learner=config.learner,
        algorithm=config.algorithm,
        temperature=config.rollout.temperature,
        total_steps=config.run.steps,
        reference=load_frozen(plan.model, config.model) if config.algorithm.kl else None,
        teacher=load_frozen(plan.teacher, config.model) if plan.teacher else None,
    )


def make_engine(plan: PartsPlan, *, threads: int, seeded: bool) -> VllmEngine:
    """The engine on the weights at ``plan.start``."""
    from rlreason.rollout.memory import GpuShare
    from rlreason.rollout.vllm_engine import EngineStart, VllmEngine

    start = EngineStart(
        path=plan.start,
        version=plan.version,
        max_len=plan.max_len,
        eos_ids=plan.eos_ids,
        threads=threads,
        seeded=seeded,
        engines=plan.config.cluster.engines,
        gpu=GpuShare(*plan.share) if plan.share else None,
    )
    return VllmEngine(plan.config, plan.encoder, start)
