"""What would make a run fit: changes of the recipe, each tried through the plan itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rlreason.config import GrpoConfig
from rlreason.errors import ConfigError
from rlreason.memory.plan import GIB, Column, Job, MemoryPlan, plan_memory

MOST_GPUS = 64
"""Learner ranks that are tried."""
FEWEST_TOKENS = 1024
"""Smallest token budget that is proposed."""

Change = dict[str, Any]
"""Field -> value."""


def require_fit(plan: MemoryPlan, config: GrpoConfig, job: Job) -> None:
    """Return if everything fits.

    Raises:
        ConfigError: Saying what is too large, and which changes would fit.
    """
    column = plan.overfull
    if column is None:
        return
    raise ConfigError(f"{too_much(column, plan.gpu_bytes)} {_advice(config, job)}")


def too_much(column: Column, gpu_bytes: int) -> str:
    """What a GPU would hold of what it has, the largest parts first."""
    parts = sorted(column.parts.items(), key=lambda item: -item[1])
    told = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts[:5])
    return (
        f"GPU memory: {column.title} would hold {column.total / GIB:.1f} GiB of "
        f"{gpu_bytes / GIB:.1f} ({told} GiB)."
    )


def _advice(config: GrpoConfig, job: Job) -> str:
    alone = [change for change in single_changes(config, job) if fits(config, job, change)]
    if alone:
        return "any of these fits: " + "; ".join(map(in_words, alone))
    together: Change = {}
    for change in single_changes(config, job):
        together |= {key: value for key, value in change.items() if key not in together}
        if fits(config, job, together):
            return f"these together fit: {in_words(together)}"
    frugal = {
        key: value
        for key, value in together.items()
        if key.partition(".")[0] in ("model", "learner")
    }
    for more in more_ranks(config):
        if fits(config, job, frugal | more):
            return f"these together fit: {in_words(frugal | more)}"
    return (
        f"nothing that this plan knows fits, up to {MOST_GPUS} GPUs; take a smaller model, or GPUs "
        "with more memory (cluster.gpu_gib)"
    )


def fits(config: GrpoConfig, job: Job, change: Change) -> bool:
    """Whether the recipe with ``change`` fits."""
    return plan_memory(changed(config, change), job).overfull is None


def changed(config: GrpoConfig, change: Change) -> GrpoConfig:
    """``config`` with other values, checked again."""
    values = config.model_dump()
    for path, value in change.items():
        section, _, name = path.partition(".")
        values[section][name] = value
    return GrpoConfig.model_validate(values)


def single_changes(config: GrpoConfig, job: Job) -> Iterator[Change]:
    """Changes that cost least first: memory for time, then precision, then more GPUs."""
    yield from fewer_activations(config, job, lambda change: fits(config, job, change))
    if config.rollout.lag:
        yield {"rollout.lag": 0}
    if _may_share(config) and config.cluster.learners > 1 and config.learner.zero_stage < 3:
        yield {"learner.zero_stage": 3}
    if config.model.dtype == "float32":
        yield {"model.dtype": "bfloat16"}
    if config.cluster.backend == "ray" and config.cluster.layout == "colocated":
        yield {"cluster.layout": "separate"}
    for more in more_ranks(config):
        if fits(config, job, more):
            yield more
            break


def fewer_activations(
    config: GrpoConfig, job: Job, fit: Callable[[Change], bool]
) -> Iterator[Change]:
    """Checkpointing, and the largest token budget that fits, or the smallest."""
    if not config.model.gradient_checkpointing:
        yield {"model.gradient_checkpointing": True}
    for tokens in _smaller_budgets(config, job):
        change: Change = {"learner.tokens_per_microbatch": tokens}
        if fit(change) or tokens // 2 < _floor(job):
            yield change
            break


def more_ranks(config: GrpoConfig) -> Iterator[Change]:
    """Two, four ... ranks that share the state; colocated, with an engine each."""
    count = config.cluster.learners * 2
    while count <= MOST_GPUS:
        separate = config.cluster.backend == "ray" and config.cluster.layout == "separate"
        yield {
            "cluster.backend": "ray",
            "cluster.learners": count,
            "cluster.engines": config.cluster.engines if separate else count,
            "learner.zero_stage": 3 if _may_share(config) else config.learner.zero_stage,
        }
        count *= 2


def _may_share(config: GrpoConfig) -> bool:
    """Whether weights may be shared out over ranks: not under adapters."""
    return config.learner.lora is None


def _smaller_budgets(config: GrpoConfig, job: Job) -> Iterator[int]:
    tokens = config.learner.tokens_per_microbatch // 2
    while tokens >= _floor(job):
        yield tokens
        tokens //= 2


def _floor(job: Job) -> int:
    """A micro-batch holds one sequence at least, whatever the budget says."""
    return max(FEWEST_TOKENS, job.max_len)


def in_words(change: Change) -> str:
    """As a command line has it."""
    return " ".join(
        f"{key}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in change.items()
    )
