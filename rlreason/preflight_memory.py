"""The memory plan of a recipe: what the parts decide for themselves, handed to the plan."""

from __future__ import annotations

from pathlib import Path

from rlreason.config import GrpoConfig
from rlreason.memory.advice import require_fit
from rlreason.memory.plan import GIB, Job, MemoryPlan, plan_memory
from rlreason.memory.shape import model_shape


def memory_job(
    config: GrpoConfig, *, model: Path | str, teacher: Path | str | None, max_len: int
) -> Job | None:
    """What the plan needs; None where no GPU is named (``cluster.gpu_gib``) or found."""
    gpu_bytes = _gpu_bytes(config)
    if gpu_bytes is None:
        return None
    from rlreason.learner.engine_options import MAX_BUCKET
    from rlreason.rollout.memory import cache_tokens, concurrent_sequences

    return Job(
        model=model_shape(model),
        teacher=model_shape(teacher) if teacher else None,
        gpu_bytes=gpu_bytes,
        max_len=max_len,
        sequences=lambda recipe: concurrent_sequences(
            recipe.rollout, engines=recipe.cluster.engines
        ),
        cache_tokens=cache_tokens,
        bucket_elements=MAX_BUCKET,
    )


def checked_memory(config: GrpoConfig, job: Job | None) -> MemoryPlan | None:
    """The plan, if there are GPUs to plan for.

    Raises:
        ConfigError: If something does not fit, with what would.
    """
    if job is None:
        return None
    plan = plan_memory(config, job)
    require_fit(plan, config, job)
    return plan


def _gpu_bytes(config: GrpoConfig) -> int | None:
    """What the recipe says; else the smallest GPU of this machine."""
    if config.cluster.gpu_gib is not None:
        return int(config.cluster.gpu_gib * GIB)
    import torch

    if not torch.cuda.is_available():
        return None
    devices = range(torch.cuda.device_count())
    return min(torch.cuda.get_device_properties(index).total_memory for index in devices)
