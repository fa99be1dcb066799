"""The memory of a run whose parts take turns: each stage has the GPU and the machine to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from rlreason.config import GrpoConfig
from rlreason.errors import ConfigError
from rlreason.machine import HostMemory
from rlreason.memory.advice import Change, changed, fewer_activations, in_words, too_much
from rlreason.memory.host import (
    PROCESS_BYTES,
    WORKER_BYTES,
    HostPlan,
    Stay,
    engine_parts_of_host,
    finished,
    learner_parts_of_host,
)
from rlreason.memory.plan import (
    CONTEXT_BYTES,
    GIB,
    Column,
    Job,
    between,
    cache_bytes_per_token,
    engine_parts,
    learner_of,
    learner_parts,
    spare_bytes,
)


class Stage(NamedTuple):
    """One that holds a model: an engine alone, or a learner alone."""

    title: str
    kind: Literal["engine", "learner"]
    config: GrpoConfig
    """The recipe as that part reads it."""
    job: Job
    engine_options: str
    """Field of the recipe whose entries are vLLM's options."""


class StagePlan(NamedTuple):
    """What each stage holds."""

    stages: tuple[Stage, ...]
    gpu: tuple[Column, ...]
    """Without a GPU to plan for: none."""
    host: HostPlan

    @property
    def gpu_bytes(self) -> int:
        """Of one GPU."""
        return self.stages[0].job.gpu_bytes


def plan_stages(
    stages: Sequence[Stage], *, cache_share: float, workers: int, machine: HostMemory | None
) -> StagePlan:
    """Plan each stage alone.

    Args:
        stages: At least one.
        cache_share: Of free memory, that an engine takes for its cache at most.
        workers: Processes that score.
        machine: This one, if it is to run them.
    """
    on_gpu = stages[0].job.gpu_bytes > 0
    stay = Stay(on_gpu=on_gpu, sleeps=False, cache_share=cache_share)
    parts, uncertain = {}, {}
    for stage in stages:
        held, spared = _on_host(stage, stay, machine)
        own = {"processes": 2 * PROCESS_BYTES, "reward workers": workers * WORKER_BYTES}
        parts[stage.title], uncertain[stage.title] = held | own, spared
    gpu = tuple(Column(s.title, _on_gpu(s, cache_share)) for s in stages) if on_gpu else ()
    return StagePlan(tuple(stages), gpu, finished(parts, uncertain, 0, machine))


def require_stages(plan: StagePlan) -> None:
    """Return if every stage fits its GPU.

    Raises:
        ConfigError: Naming the stage that is too large, and what would fit.
    """
    for stage, column in zip(plan.stages, plan.gpu, strict=False):
        if column.total <= plan.gpu_bytes:
            continue
        advice = _for_training(stage) if stage.kind == "learner" else _for_engine(stage, column)
        raise ConfigError(f"{too_much(column, plan.gpu_bytes)} {advice}")


def _on_gpu(stage: Stage, cache_share: float) -> dict[str, int]:
    config, job = stage.config, stage.job
    outside = {"spare": spare_bytes(job.gpu_bytes), "CUDA context": CONTEXT_BYTES}
    if stage.kind == "learner":
        return outside | learner_parts(learner_of(config, job))
    per_token = cache_bytes_per_token(config, job.model)
    least, wanted = (
        job.cache_tokens(count, job.max_len) * per_token for count in (2, job.sequences(config))
    )
    given = config.rollout.vllm.get("kv_cache_memory_bytes")
    cache = int(given or between(least, wanted, int(cache_share * job.gpu_bytes)))
    return outside | engine_parts(config, job) | {"KV cache": cache}


def _on_host(stage: Stage, stay: Stay, machine: HostMemory | None) -> tuple[dict[str, int], int]:
    """Parts, and how many of their bytes are not certain."""
    if stage.kind == "engine":
        return engine_parts_of_host(stage.config, stage.job, stay, machine)
    learner = learner_of(stage.config, stage.job)
    spared = 0 if stay.on_gpu else learner.working - learner.gradients
    return learner_parts_of_host(learner, on_gpu=stay.on_gpu), spared


def _for_training(stage: Stage) -> str:
    def fits(change: Change) -> bool:
        config = changed(stage.config, change)
        return Column("", _on_gpu(stage._replace(config=config), 0.0)).total <= stage.job.gpu_bytes

    together: Change = {}
    for change in _changes(stage, fits):
        if fits(change):
            return f"this fits: {in_words(change)}"
        together |= change
        if fits(together):
            return f"these together fit: {in_words(together)}"
    return (
        "nothing that this plan knows fits: it is trained on one GPU; take a smaller model, "
        "learner.lora, or a GPU with more memory (cluster.gpu_gib)"
    )


def _changes(stage: Stage, fits: Callable[[Change], bool]) -> Iterator[Change]:
    yield from fewer_activations(stage.config, stage.job, fits)
    if stage.config.model.dtype == "float32":
        yield {"model.dtype": "bfloat16"}


def _for_engine(stage: Stage, column: Column) -> str:
    job, options = stage.job, stage.engine_options
    least = job.cache_tokens(2, job.max_len) * cache_bytes_per_token(stage.config, job.model)
    room = job.gpu_bytes - column.total + column.parts["KV cache"]
    if room >= least:
        return (
            f"a smaller cache fits: {options}.kv_cache_memory_bytes={room // 2**20 * 2**20} "
            f"({room / GIB:.1f} GiB)"
        )
    return (
        f"take a smaller model, {options}.tensor_parallel_size over several GPUs, or a GPU with "
        "more memory (cluster.gpu_gib)"
    )
