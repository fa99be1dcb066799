"""What each machine's own memory will hold: all of a run on CPUs, and what GPUs leave to it."""

from __future__ import annotations

from typing import NamedTuple

from rlreason.config import ClusterSection, GrpoConfig
from rlreason.errors import ConfigError
from rlreason.machine import HostMemory
from rlreason.memory.learner import LearnerMemory
from rlreason.memory.plan import (
    GIB,
    Column,
    Job,
    between,
    cache_bytes_per_token,
    engine_parts,
    learner_of,
)

PROCESS_BYTES = 450 * 2**20
"""torch with DeepSpeed or vLLM, before any model. Seen on a CPU: 424 to 678 MiB, 979 with both."""
RAY_BYTES = 400 * 2**20
"""Ray's own processes on a node. Seen: 320 MiB."""
WORKER_BYTES = 64 * 2**20
"""A reward worker that imports little; ``scoring.memory_limit_gib`` is what it may take. Seen: 20
to 32 MiB."""


class HostPlan(NamedTuple):
    """The plan of one recipe."""

    columns: tuple[Column, ...]
    least: int
    """Bytes of the fullest column that are certain: no activations, no more cache than needed."""
    store: int
    """Of shared memory, for Ray's object store."""
    machine: HostMemory | None
    """None where it is not this machine that will run."""

    @property
    def most(self) -> int:
        """Bytes of the fullest column."""
        return max(column.total for column in self.columns)

    @property
    def warnings(self) -> list[str]:
        """What may go wrong, and what to do about it."""
        found: list[str] = []
        if self.machine is None:
            return found
        if self.most > self.machine.available:
            found.append(
                f"host memory: up to {self.most / GIB:.1f} GiB may be needed, "
                f"{self.machine.available / GIB:.1f} are free; end other programs, or lower "
                "learner.tokens_per_microbatch"
            )
        if self.store > self.machine.shared:
            found.append(
                f"shared memory: Ray's object store takes {self.store / GIB:.1f} GiB, /dev/shm has "
                f"{self.machine.shared / GIB:.1f} free; Ray would use the disk in its place, which "
                "is slow: enlarge /dev/shm (docker run --shm-size)"
            )
        return found


class Stay(NamedTuple):
    """Where learner and engine of a recipe stay."""

    on_gpu: bool
    sleeps: bool
    """Whether engines leave their weights on the host while the learner works."""
    cache_share: float
    """Of free memory, that an engine on a CPU takes for its cache at most."""
    store: int = 0
    """Bytes of Ray's object store; 0 without Ray."""


def plan_host(config: GrpoConfig, job: Job, stay: Stay, machine: HostMemory | None) -> HostPlan:
    """What the machines of ``config`` hold; ``machine`` is this one, if it is to run it."""
    learner = learner_of(config, job)
    rank = learner_parts_of_host(learner, on_gpu=stay.on_gpu)
    engine, spared = engine_parts_of_host(config, job, stay, machine)
    cluster, store = config.cluster, stay.store
    own = {"reward workers": config.scoring.workers * WORKER_BYTES}
    if store:
        own |= {"driver": PROCESS_BYTES, "Ray": RAY_BYTES, "object store, /dev/shm": store}
    if cluster.address is not None:
        columns: tuple[Column, ...] = (
            Column("node of the driver", own),
            Column("and each learner rank", rank | {"process": PROCESS_BYTES}),
            Column("and each engine", engine | {"process": PROCESS_BYTES}),
        )
        return HostPlan(columns, 0, store, None)
    ranks, engines = cluster.learners, cluster.engines
    own |= {"processes": (ranks + engines) * PROCESS_BYTES}
    if stay.on_gpu:
        return _beside_gpus(learner, (ranks, engines), engine, own, store, machine)
    parts = {name: size * ranks for name, size in rank.items()}
    parts |= {name: size * engines for name, size in engine.items()}
    # A micro-batch may be smaller than the token budget.
    spared = spared * engines + (learner.working - learner.gradients) * ranks
    return finished({"this machine": parts | own}, {"this machine": spared}, store, machine)


def _beside_gpus(
    learner: LearnerMemory,
    counts: tuple[int, int],
    engine: dict[str, int],
    own: dict[str, int],
    store: int,
    machine: HostMemory | None,
) -> HostPlan:
    """Ranks load while no engine sleeps yet; later rank 0 alone writes checkpoints."""
    ranks, engines = counts
    loading = learner.start + learner.frozen
    starting = {"models on their way": loading * ranks}
    running = {name: size * engines for name, size in engine.items()}
    running |= {"offloaded": learner.host * ranks, "checkpoint on its way": learner.start}
    return finished(
        {"starting": starting | own, "running": running | own},
        # The ranks of a machine may read the same pages of the same file.
        {"starting": loading * (ranks - 1), "running": learner.start},
        store,
        machine,
    )


def finished(
    parts: dict[str, dict[str, int]],
    uncertain: dict[str, int],
    store: int,
    machine: HostMemory | None,
) -> HostPlan:
    """A plan of columns, of each of which some bytes are uncertain."""
    columns = tuple(Column(title, {k: v for k, v in p.items() if v}) for title, p in parts.items())
    least = max(column.total - uncertain[column.title] - store for column in columns)
    return HostPlan(columns, least, store, machine)


def require_host(plan: HostPlan, cluster: ClusterSection) -> None:
    """Return unless this machine certainly holds too little.

    Raises:
        ConfigError: Saying how much is needed at least.
    """
    if plan.machine is None or plan.least <= plan.machine.total:
        return
    worst = max(plan.columns, key=lambda column: column.total)
    told = sorted(worst.parts.items(), key=lambda item: -item[1])[:4]
    fewer = "fewer cluster.learners or cluster.engines, " if cluster.backend == "ray" else ""
    raise ConfigError(
        f"host memory: this machine needs {plan.least / GIB:.1f} GiB at least, and has "
        f"{plan.machine.total / GIB:.1f} ("
        + ", ".join(f"{name} {size / GIB:.1f}" for name, size in told)
        + f" GiB). Take {fewer}a smaller model, model.dtype=bfloat16, learner.lora, or a machine "
        "with more memory"
    )


def learner_parts_of_host(learner: LearnerMemory, *, on_gpu: bool) -> dict[str, int]:
    """Of a rank: everything on a CPU; else what it loads, and what does not stay on the GPU."""
    if on_gpu:
        return {"models on their way": learner.start + learner.frozen, "offloaded": learner.host}
    return {
        "learner weights": learner.weights,
        "optimizer": learner.optimizer + learner.host,
        "reference, teacher": learner.frozen,
        "gradients": learner.gradients,
        "activations or update": learner.working - learner.gradients,
    }


def engine_parts_of_host(
    config: GrpoConfig, job: Job, stay: Stay, machine: HostMemory | None
) -> tuple[dict[str, int], int]:
    """Of an engine, and how much of that it would do without."""
    parts = engine_parts(config, job)
    ranks = config.rollout.tensor_parallel
    weights = parts["engine weights"] * ranks
    if stay.on_gpu:
        return ({"sleeping engine": weights} if stay.sleeps else {}), 0
    per_token = cache_bytes_per_token(config, job.model) * ranks
    least = job.cache_tokens(2, job.max_len) * per_token
    wanted = job.cache_tokens(job.sequences(config), job.max_len) * per_token
    room = int(stay.cache_share * machine.available) if machine else wanted
    cache = int(config.rollout.vllm.get("kv_cache_memory_bytes") or between(least, wanted, room))
    held = {
        "engine weights": weights,
        "engine workspace": parts["engine workspace"],
        "KV cache": cache,
    }
    return held, max(0, cache - least) + parts["engine workspace"]
