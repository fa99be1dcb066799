"""The recipes for many GPUs: what their comments promise, and that they pass every check."""

from pathlib import Path

import pytest
from test_model_shape import QWEN_7B
from test_recipes import long_model

from rlreason.config import GrpoConfig
from rlreason.config_file import load_config
from rlreason.memory.plan import GIB, Job, MemoryPlan, plan_memory
from rlreason.memory.shape import shape_of
from rlreason.preflight import preflight
from rlreason.rollout.memory import cache_tokens, concurrent_sequences

CLUSTER = ["grpo_node8.yaml", "grpo_two_nodes.yaml"]
COLOCATED, SEPARATE = (load_config(name) for name in CLUSTER)


def plan_of(config: GrpoConfig) -> MemoryPlan:
    """On the recipe's own model, without its hub."""
    job = Job(
        model=shape_of(QWEN_7B),
        teacher=None,
        gpu_bytes=80 * GIB,
        max_len=4096 + 2048,
        sequences=lambda recipe: concurrent_sequences(
            recipe.rollout, engines=recipe.cluster.engines
        ),
        cache_tokens=cache_tokens,
        bucket_elements=100_000_000,
    )
    return plan_memory(config, job)


def test_one_node_holds_both_awake_at_stage_3_alone() -> None:
    plan = plan_of(COLOCATED)
    assert (plan.overfull, plan.engine.sleeps) == (None, False)
    for stage in (1, 2):
        learner = COLOCATED.learner.model_copy(update={"zero_stage": stage})
        assert plan_of(COLOCATED.model_copy(update={"learner": learner})).engine.sleeps


def test_two_nodes_give_engines_a_larger_cache() -> None:
    plan = plan_of(SEPARATE)
    assert plan.overfull is None
    assert [column.title for column in plan.columns] == ["each learner GPU", "each engine GPU"]
    assert plan.sequences > 2 * plan_of(COLOCATED).sequences


def test_the_recipes_differ_in_where_things_are_alone() -> None:
    one, two = COLOCATED.model_dump(), SEPARATE.model_dump()
    assert SEPARATE.cluster.address == "auto"
    for config in (one, two):
        del config["cluster"], config["run"]["name"], config["learner"]["zero_stage"]
    assert one == two


@pytest.mark.parametrize("name", CLUSTER)
def test_a_dry_run_makes_a_plan_from_the_recipe_alone(name: str, tmp_path: Path) -> None:
    pytest.importorskip("reasoning_gym")
    few = [f"pools.kk{count}.options.size=8" for count in range(3, 9)]
    few += [f"pools.kk{count}.held_out=1" for count in range(3, 9)]
    small = [f"model.path={long_model(tmp_path)}", "prompt.system=null"]
    config = load_config(name, [*few, *small])
    plan = preflight(config)
    assert plan.memory_job is not None
    assert plan.memory_job.gpu_bytes == 80 * GIB
    assert plan_memory(config, plan.memory_job).overfull is None
