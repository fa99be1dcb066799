"""The memory plan of critique fine-tuning, whose stages have the GPU one after the other.

Texts are written by a process for each local model, training is one learner, and evaluation one
engine: no two of them are there at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.table import Table

from rlreason.build_writers import load_local
from rlreason.config import CftConfig, RolloutSection, WriterSection
from rlreason.memory.host import require_host
from rlreason.memory.shape import model_shape
from rlreason.memory.stages import Stage, StagePlan, plan_stages, require_stages
from rlreason.memory.table import columns_table
from rlreason.preflight_cft import CftPlan
from rlreason.preflight_memory import host_table, machine_of


def memory_stages(config: CftConfig, checked: CftPlan) -> StagePlan:
    """What each stage that loads a model will hold."""
    from rlreason.rollout.memory import MAX_SHARE

    recipe, job = checked.grpo, checked.plan.memory_job
    evaluated = job._replace(max_len=checked.max_len)
    return plan_stages(
        [
            *_writing(config, checked),
            _training(config, checked),
            Stage("evaluation", "engine", recipe, evaluated, "evaluation.vllm"),
        ],
        cache_share=MAX_SHARE,
        workers=2 * config.scoring.workers,  # one pool grades answers, one grades critiques
        machine=machine_of(recipe),
    )


def stage_tables(plan: StagePlan) -> list[Table]:
    """What the GPU and the machine hold in each stage."""
    note = "One stage after the other: each column has the GPU to itself."
    tables = [host_table(plan.host)]
    if plan.gpu:
        tables.insert(
            0,
            columns_table(
                plan.gpu, plan.gpu_bytes, what="memory plan", where="per GPU", caption=note
            ),
        )
    return tables


def require_stages_fit(config: CftConfig, plan: StagePlan) -> None:
    """Return if nothing is certain to lack memory.

    Raises:
        ConfigError: Saying which stage is too large, and what would fit.
    """
    require_stages(plan)
    require_host(plan.host, config.cluster)


def _training(config: CftConfig, checked: CftPlan) -> Stage:
    recipe, learner = checked.grpo, config.learner
    if learner.lora is not None:  # dropout is of no weight here, and refused where engines sample
        lora = learner.lora.model_copy(update={"dropout": 0.0})
        learner = learner.model_copy(update={"lora": lora})
    batch = math.ceil(config.training.batch_size / recipe.rollout.group_size)
    rollout = recipe.rollout.model_copy(update={"problems_per_step": batch})
    job = checked.plan.memory_job._replace(max_len=config.training.max_tokens)
    trained = recipe.model_copy(update={"learner": learner, "rollout": rollout})
    return Stage("training", "learner", trained, job, "")


def _writing(config: CftConfig, checked: CftPlan) -> Iterator[Stage]:
    """An engine for each local model that writes."""
    prompt = checked.plan.max_len - config.evaluation.max_completion_tokens
    solution = max(writer.max_tokens for writer in config.generators)
    if config.seeds.choose == "pass_rate":
        tried = checked.plan.memory_job._replace(max_len=checked.plan.max_len)
        yield Stage("seeds", "engine", checked.grpo, tried, "evaluation.vllm")
    for role, writers, longest in (
        ("generators", config.generators, prompt),
        ("teachers", config.teachers, prompt + solution),  # a solution stands in the prompt
    ):
        for writer in writers:
            if writer.kind == "local":
                where = f"{role}.{writer.name}"
                yield _writer(writer, where, longest + writer.max_tokens, checked)


def _writer(writer: WriterSection, where: str, tokens: int, checked: CftPlan) -> Stage:
    recipe = checked.grpo
    local = load_local(writer, where=where)
    limit = local.position_limit
    job = checked.plan.memory_job._replace(
        model=model_shape(local.path), max_len=tokens if limit is None else min(tokens, limit)
    )
    rollout = RolloutSection(max_completion_tokens=writer.max_tokens, vllm=writer.vllm)
    model = recipe.model.model_copy(update={"path": str(writer.model), "dtype": local.dtype})
    read = recipe.model_copy(update={"model": model, "rollout": rollout})
    return Stage(where, "engine", read, job, f"{where}.vllm")
