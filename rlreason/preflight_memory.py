"""The memory plans of a recipe: what the parts decide for themselves, handed to the plans."""

from __future__ import annotations

from logging import Logger
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from rlreason.config import GrpoConfig
from rlreason.machine import HostMemory, host_memory
from rlreason.memory.advice import require_fit
from rlreason.memory.host import HostPlan, Stay, plan_host, require_host
from rlreason.memory.plan import GIB, Job, MemoryPlan, plan_memory
from rlreason.memory.shape import model_shape
from rlreason.memory.table import as_text, columns_table, memory_table


class MemoryPlans(NamedTuple):
    """What GPUs and machines will hold."""

    config: GrpoConfig
    job: Job
    gpu: MemoryPlan | None
    """None where no GPU is named (``cluster.gpu_gib``) or found."""
    host: HostPlan

    def tables(self) -> list[Table]:
        """Both plans."""
        return [*([memory_table(self.gpu)] if self.gpu else []), host_table(self.host)]

    def require_fit(self) -> None:
        """Return if nothing is certain to lack memory.

        Raises:
            ConfigError: Saying what is too large, and what would fit.
        """
        if self.gpu is not None:
            require_fit(self.gpu, self.config, self.job)
        require_host(self.host, self.config.cluster)

    def tell(self, log: Logger) -> None:
        """Write both plans, and what may go wrong."""
        log.info("%s", as_text(*self.tables()))
        for warning in self.host.warnings:
            log.warning("%s", warning)


def memory_job(
    config: GrpoConfig, *, model: Path | str, teacher: Path | str | None, max_len: int
) -> Job:
    """What the plans need to know."""
    from rlreason.learner.engine_options import MAX_BUCKET
    from rlreason.rollout.memory import cache_tokens, concurrent_sequences

    return Job(
        model=model_shape(model),
        teacher=model_shape(teacher) if teacher else None,
        gpu_bytes=_gpu_bytes(config),
        max_len=max_len,
        sequences=lambda recipe: concurrent_sequences(
            recipe.rollout, engines=recipe.cluster.engines
        ),
        cache_tokens=cache_tokens,
        bucket_elements=MAX_BUCKET,
    )


def memory_plans(config: GrpoConfig, job: Job) -> MemoryPlans:
    """Both plans, whether or not what they say fits."""
    from rlreason.rollout.memory import MAX_SHARE

    gpu = plan_memory(config, job) if job.gpu_bytes else None
    stay = Stay(
        on_gpu=gpu is not None,
        sleeps=gpu is not None and gpu.engine.sleeps,
        cache_share=MAX_SHARE,
        store=_store_bytes(config, job),
    )
    return MemoryPlans(config, job, gpu, plan_host(config, job, stay, machine_of(config)))


def _store_bytes(config: GrpoConfig, job: Job) -> int:
    from rlreason.cluster.ray_cluster import store_bytes

    weights = job.model.parameters * job.model.bytes_of(config.model.dtype)
    return store_bytes(weights) if config.cluster.backend == "ray" else 0


def fitting_plans(config: GrpoConfig, job: Job) -> MemoryPlans:
    """Both plans, of which nothing is certain to lack memory.

    Raises:
        ConfigError: Otherwise.
    """
    plans = memory_plans(config, job)
    plans.require_fit()
    return plans


def machine_of(config: GrpoConfig) -> HostMemory | None:
    """This machine, if it is the one that will run: a GPU that it lacks is another's."""
    if config.cluster.address is not None:
        return None
    return None if config.cluster.gpu_gib is not None and not _own_gpus() else host_memory()


def host_table(plan: HostPlan) -> Table:
    """What each machine holds, and what may go wrong."""
    return columns_table(
        plan.columns,
        plan.machine.total if plan.machine else None,
        what="host memory",
        where="",
        caption=" ".join(plan.warnings),
    )


def _gpu_bytes(config: GrpoConfig) -> int:
    """What the recipe says; else the smallest GPU of this machine; 0 without one."""
    if config.cluster.gpu_gib is not None:
        return int(config.cluster.gpu_gib * GIB)
    return min(_own_gpus(), default=0)


def _own_gpus() -> list[int]:
    """Bytes of each GPU of this machine."""
    import torch

    if not torch.cuda.is_available():
        return []
    devices = range(torch.cuda.device_count())
    return [torch.cuda.get_device_properties(index).total_memory for index in devices]
