"""A learner and an engine from a recipe, in whichever process calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rlreason.config import GrpoConfig
from rlreason.data.prompts import PromptEncoder
from rlreason.memory.plan import EngineShare
from rlreason.preflight_lora import explicit_targets

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
    """Where the weights of ``version`` lie, whole."""
    adapter: Path | None
    """Where its adapter over ``model`` lies; None: it has none yet, or none is trained."""
    version: int
    encoder: PromptEncoder
    eos_ids: tuple[int, ...]
    max_len: int
    share: EngineShare | None = None
    """What the memory plan leaves an engine; None where no plan is made."""


TRANSFERS = {"shared_memory": None, "cuda_ipc": "ipc", "nccl": "nccl"}
"""``cluster.weight_sync`` -> back end of vLLM's weight-transfer API."""


def make_learner(plan: PartsPlan) -> DeepSpeedLearner:
    """The learner on the weights at ``plan.start``; the process is prepared."""
    from rlreason.learner.deepspeed_learner import DeepSpeedLearner
    from rlreason.learner.policy import load_frozen, load_model

    config, lora = plan.config, plan.config.learner.lora
    policy = load_model(plan.model if lora else plan.start, config.model)
    if lora:
        from rlreason.learner.lora import Adapter

        policy = Adapter(policy, lora, seed=config.run.seed, base=plan.model, saved=plan.adapter)
    has_reference = config.algorithm.kl and not lora  # an adapter's is the model below it
    return DeepSpeedLearner(
        policy,
        plan.encoder.tokenizer,
        learner=config.learner,
        algorithm=config.algorithm,
        temperature=config.rollout.temperature,
        total_steps=config.run.steps,
        reference=load_frozen(plan.model, config.model) if has_reference else None,
        teacher=load_frozen(plan.teacher, config.model) if plan.teacher else None,
        on_policy=config.rollout.lag == 0,
    )


def make_engine(plan: PartsPlan, *, threads: int, seeded: bool) -> VllmEngine:
    """The engine on the weights at ``plan.start``."""
    from rlreason.rollout.memory import GpuShare
    from rlreason.rollout.vllm_engine import EngineStart, VllmEngine

    lora = plan.config.learner.lora
    adapters = None
    if lora is not None and lora.publish == "adapter":
        adapters = explicit_targets(lora, plan.model)
    start = EngineStart(
        path=plan.start if adapters is None else plan.model,
        version=plan.version,
        max_len=plan.max_len,
        eos_ids=plan.eos_ids,
        threads=threads,
        seeded=seeded,
        engines=plan.config.cluster.engines,
        lora=adapters,
        adapter=plan.adapter,
        gpu=GpuShare(*plan.share) if plan.share else None,
        transfer=TRANSFERS[plan.config.cluster.weight_sync],
    )
    return VllmEngine(plan.config, plan.encoder, start)
