"""What fits on each GPU: learner, engine, cache, and whether the two must take turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rlreason.config import GrpoConfig
from rlreason.memory.learner import LearnerMemory, learner_memory
from rlreason.memory.shape import ModelShape

GIB = 2**30
CONTEXT_BYTES = int(0.75 * GIB)
"""A process on a GPU: CUDA context, cuBLAS and NCCL buffers. Estimated, not measured here."""
GRAPH_BYTES = GIB
"""vLLM's CUDA graphs. Estimated, not measured here."""
SPARE_FRAC = 0.03
"""Of the GPU, for what the allocators cannot use."""
ENGINE_BATCH_TOKENS = 8192
"""Prompt tokens of one forward of the engine on a GPU."""
SAMPLER_COPIES = 3
"""Float32 logits of every running sequence: themselves, their softmax, and their sorting."""
PUBLICATION_BYTES = 256 * 2**20
"""Weights on their way to the engine: a bucket, or the largest matrix."""
NCCL_BUFFERS = 2
"""Of vLLM's packed weight transfer, its own default."""
GOOD_CACHE_FRAC = 0.25
"""Share of the wished-for KV cache below which engine and learner do not fit together."""


class Job(NamedTuple):
    """What the plan must know beside the recipe."""

    model: ModelShape
    teacher: ModelShape | None
    gpu_bytes: int
    """0: there is no GPU to plan for."""
    max_len: int
    """Longest prompt plus completion, in tokens."""
    sequences: Callable[[GrpoConfig], int]
    """Completions that an engine decodes at once."""
    cache_tokens: Callable[[int, int], int]
    """(sequences, longest) -> tokens of a cache that holds them all."""
    bucket_elements: int
    """Gradients that ZeRO collects before it reduces them."""


class Column(NamedTuple):
    """One kind of GPU, in one phase."""

    title: str
    parts: dict[str, int]
    """Name -> bytes."""

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


class EngineShare(NamedTuple):
    """What the engine is told."""

    cache_bytes: int
    utilization: float
    """Share of the GPU that is the engine's; vLLM refuses to start if less is free."""
    batch_tokens: int
    sleeps: bool


class MemoryPlan(NamedTuple):
    """The plan of one recipe."""

    columns: tuple[Column, ...]
    gpu_bytes: int
    engine: EngineShare
    sequences: float
    """Completions of full length that the cache holds; those decoded at once may be more."""
    wanted_sequences: int

    @property
    def overfull(self) -> Column | None:
        """The column that fits least, if one does not fit."""
        worst = max(self.columns, key=lambda column: column.total)
        return worst if worst.total > self.gpu_bytes else None


def plan_memory(config: GrpoConfig, job: Job) -> MemoryPlan:
    """Lay learner and engine out on GPUs of ``job.gpu_bytes``."""
    learner = learner_of(config, job)
    engine = engine_parts(config, job)
    per_token = cache_bytes_per_token(config, job.model)
    wanted_sequences = job.sequences(config)
    wanted = job.cache_tokens(wanted_sequences, job.max_len) * per_token
    least = job.cache_tokens(2, job.max_len) * per_token
    outside = {"spare": spare_bytes(job.gpu_bytes)}
    if config.cluster.backend == "ray" and config.cluster.layout == "separate":
        outside["CUDA context"] = CONTEXT_BYTES
        cache = between(least, wanted, job.gpu_bytes - sum((engine | outside).values()))
        sent = publication_bytes(config, job.model)
        sender = {"publication": sent} if config.cluster.weight_sync == "nccl" else {}
        columns: tuple[Column, ...] = (
            Column("each learner GPU", outside | sender | learner_parts(learner)),
            Column("each engine GPU", outside | engine | {"KV cache": cache}),
        )
        start = Column("each learner GPU, starting", outside | _whole_weights(learner))
        sleeps = False
    else:
        processes = 2 if config.cluster.backend == "ray" else 1
        outside["CUDA context"] = CONTEXT_BYTES * processes
        # What works at once cannot take turns; in one process it takes turns anyway.
        at_once = config.rollout.lag > 0 and config.cluster.backend == "ray"
        columns, cache, sleeps = _colocated(
            job.gpu_bytes, learner, engine, outside, (least, wanted), at_once=at_once
        )
        beside = outside | engine | {"KV cache": cache}
        start = Column("each GPU, starting", beside | _whole_weights(learner))
    if start.total > max(column.total for column in columns):
        columns = (start, *columns)
    return MemoryPlan(
        columns=columns,
        gpu_bytes=job.gpu_bytes,
        engine=EngineShare(
            cache_bytes=cache,
            utilization=min(1.0, (sum(engine.values()) + cache) / job.gpu_bytes),
            batch_tokens=_batch_tokens(config, job),
            sleeps=sleeps,
        ),
        sequences=cache / (per_token * job.max_len),
        wanted_sequences=wanted_sequences,
    )


def _colocated(
    gpu_bytes: int,
    learner: LearnerMemory,
    engine: dict[str, int],
    outside: dict[str, int],
    cache_limits: tuple[int, int],
    *,
    at_once: bool,
) -> tuple[tuple[Column, ...], int, bool]:
    """Columns, bytes of the cache, and whether the engine sleeps while the learner works."""
    least, wanted = cache_limits
    together = outside | learner_parts(learner) | engine
    starting = sum((outside | _whole_weights(learner) | engine).values())
    room = gpu_bytes - max(starting, sum(together.values()))
    if at_once or room >= max(least, GOOD_CACHE_FRAC * wanted):
        cache = between(least, wanted, room)
        return (Column("each GPU", together | {"KV cache": cache}),), cache, False
    sampling = outside | learner_parts(learner, working=False) | engine
    cache = between(least, wanted, gpu_bytes - max(starting, sum(sampling.values())))
    columns = (
        Column("each GPU, sampling", sampling | {"KV cache": cache}),
        Column(
            "each GPU, learning",
            outside | learner_parts(learner) | {"CUDA graphs": engine["CUDA graphs"]},
        ),
    )
    return columns, cache, True


def learner_of(config: GrpoConfig, job: Job) -> LearnerMemory:
    """What one rank of the recipe holds; a micro-batch is no larger than a step."""
    step = config.rollout.problems_per_step * config.rollout.group_size * job.max_len
    if step < config.learner.tokens_per_microbatch:
        learner = config.learner.model_copy(update={"tokens_per_microbatch": step})
        config = config.model_copy(update={"learner": learner})
    return learner_memory(
        config, job.model, teacher=job.teacher, bucket_elements=job.bucket_elements
    )


def spare_bytes(gpu_bytes: int) -> int:
    """What is left to the allocators."""
    return int(SPARE_FRAC * gpu_bytes)


def between(least: int, wanted: int, room: int) -> int:
    """Bytes of a cache: what is wished for, if there is room, and never less than it needs."""
    return max(least, min(wanted, room))


def learner_parts(learner: LearnerMemory, *, working: bool = True) -> dict[str, int]:
    """A rank, at work or between updates."""
    parts = {
        "learner weights": learner.weights,
        "optimizer": learner.optimizer,
        "reference, teacher": learner.frozen,
    }
    if working:
        parts |= {
            "gradients": learner.gradients,
            "activations or update": learner.working - learner.gradients,
        }
    return {name: size for name, size in parts.items() if size}


def _whole_weights(learner: LearnerMemory) -> dict[str, int]:
    """A learner before ZeRO has divided its weights; engines start at the same time."""
    return {"learner weights, whole": learner.start}


def engine_parts(config: GrpoConfig, job: Job) -> dict[str, int]:
    """The engine without its cache."""
    model, size = job.model, job.model.bytes_of(config.model.dtype)
    tokens = _batch_tokens(config, job)
    # The widest moment of a forward: gate and up with their product, and the residual stream.
    forward = tokens * size * (3 * model.inner_width + 4 * model.width)
    sampler = SAMPLER_COPIES * 4 * model.vocabulary * job.sequences(config)
    return {
        "engine weights": model.parameters * size // config.rollout.tensor_parallel,
        "engine workspace": max(forward, sampler),
        "publication": publication_bytes(config, model),
        "CUDA graphs": 0 if config.rollout.vllm.get("enforce_eager") else GRAPH_BYTES,
    }


def publication_bytes(config: GrpoConfig, model: ModelShape) -> int:
    """Of weights on their way, at either end; NCCL fills one buffer while it sends another."""
    largest = model.vocabulary * model.width * model.bytes_of(config.model.dtype)
    buffers = NCCL_BUFFERS if config.cluster.weight_sync == "nccl" else 1
    return buffers * max(PUBLICATION_BYTES, largest)


def _batch_tokens(config: GrpoConfig, job: Job) -> int:
    given = config.rollout.vllm.get("max_num_batched_tokens")
    return int(given or max(ENGINE_BATCH_TOKENS, job.sequences(config)))


def cache_bytes_per_token(config: GrpoConfig, model: ModelShape) -> int:
    """Keys and values of a token, in one process of an engine."""
    size = model.bytes_of(config.model.dtype)
    return 2 * model.layers * model.key_width * size // config.rollout.tensor_parallel
