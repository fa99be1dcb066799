"""What fits where: cases worked by hand, and what a refusal proposes."""

import json
import re
from typing import Any

import pytest

from rlreason.config import GrpoConfig
from rlreason.errors import ConfigError
from rlreason.memory.advice import changed, require_fit
from rlreason.memory.learner import learner_memory
from rlreason.memory.plan import GIB, Job, learner_of, plan_memory
from rlreason.memory.shape import ModelShape
from rlreason.memory.table import as_text, memory_table

SEVEN = ModelShape(
    parameters=7_000_000_000,
    layers=28,
    width=3584,
    attention_width=3584,
    key_width=512,
    inner_width=18944,
    vocabulary=152064,
)
JOB = Job(
    model=SEVEN,
    teacher=None,
    gpu_bytes=80 * GIB,
    max_len=4096,
    sequences=lambda config: 256,
    cache_tokens=lambda sequences, longest: sequences * longest,
    bucket_elements=100_000_000,
)
EIGHT = {"backend": "ray", "learners": 8, "engines": 8}


def recipe(stage: int = 0, *, cluster: Any = None, **sections: Any) -> GrpoConfig:
    values: dict[str, Any] = {
        "model": {"path": "x", "dtype": "bfloat16", "gradient_checkpointing": True},
        "pools": [{"name": "a", "source": "unused", "reward": "unused:Unused"}],
        "learner": {"zero_stage": stage, "tokens_per_microbatch": 16384},
        "cluster": EIGHT if cluster is None else cluster,
    }
    for name, section in sections.items():
        values[name] = values.get(name, {}) | section
    return GrpoConfig.model_validate(values)


@pytest.mark.parametrize(
    ("stage", "weights", "optimizer", "gradients"),
    [
        # 7e9 parameters on 8 ranks, bfloat16: weights 2 bytes each, float32 master and two moments
        # 12 bytes over 8 ranks = 10.5e9, gradients 2 bytes. Stage 0 is stage 1 in bfloat16.
        (0, 14.0e9, 10.5e9, 14.0e9),
        (1, 14.0e9, 10.5e9, 14.0e9),
        # Stage 2 shares out gradients: 14e9 / 8.
        (2, 14.0e9, 10.5e9, 1.75e9),
        # Stage 3 shares out weights, and keeps its share of the gradients with the optimizer, and
        # a bucket of 100 million of them.
        (3, 1.75e9, 12.45e9, 0.0),
    ],
)
def test_seven_billion_parameters_on_eight_ranks(
    stage: int, weights: float, optimizer: float, gradients: float
) -> None:
    memory = learner_memory(recipe(stage), SEVEN, teacher=None, bucket_elements=100_000_000)
    assert (memory.weights, memory.optimizer, memory.gradients) == (weights, optimizer, gradients)


def test_float32_without_zero_has_no_master_weights() -> None:
    config = recipe(model={"dtype": "float32"}, cluster={})
    memory = learner_memory(config, SEVEN, teacher=None, bucket_elements=0)
    assert (memory.weights, memory.optimizer, memory.gradients) == (28e9, 56e9, 28e9)
    assert memory.update == 0  # of one rank: nothing to add up over others


def test_frozen_models_are_whole_on_every_rank() -> None:
    small = SEVEN._replace(parameters=500_000_000)
    config = recipe(3, algorithm={"kl": 0.01})
    memory = learner_memory(config, SEVEN, teacher=small, bucket_elements=0)
    assert memory.frozen == 14e9 + 1e9


def test_checkpointing_a_smaller_budget_and_fewer_logits_make_activations_smaller() -> None:
    def held(**sections: Any) -> int:
        config = recipe(**sections)
        return learner_memory(config, SEVEN, teacher=None, bucket_elements=0).activations

    whole = held(model={"gradient_checkpointing": False})
    assert held() < whole / 5
    assert held(learner={"tokens_per_microbatch": 8192}) < 0.65 * held()
    assert held(learner={"logits_mib": 4096}) > held()


def test_separate_gpus_hold_one_of_both() -> None:
    plan = plan_memory(recipe(3, cluster=EIGHT | {"layout": "separate"}), JOB)
    learner, engine = plan.columns
    assert plan.overfull is None
    assert not plan.engine.sleeps
    assert "engine weights" not in learner.parts
    assert "optimizer" not in engine.parts
    assert engine.parts["engine weights"] == 14e9
    # 2 x 28 layers x 512 x 2 bytes = 57,344 bytes a token: 256 sequences of 4096 are 56 GiB.
    assert engine.parts["KV cache"] == 57_344 * 256 * 4096 == 56 * GIB


def test_a_tensor_parallel_engine_shares_weights_and_cache() -> None:
    cluster = EIGHT | {"layout": "separate"}
    config = recipe(3, cluster=cluster, rollout={"vllm": {"tensor_parallel_size": 2}})
    engine = plan_memory(config, JOB).columns[1]
    assert (engine.parts["engine weights"], engine.parts["KV cache"]) == (7e9, 28 * GIB)


def test_colocated_parts_that_fit_together_stay_awake() -> None:
    plan = plan_memory(recipe(3), JOB)
    assert (len(plan.columns), plan.engine.sleeps, plan.overfull) == (1, False, None)
    (column,) = plan.columns
    # The cache takes what is left, less than it wishes for.
    assert 0 <= JOB.gpu_bytes - column.total < 4096 * 57_344
    engine = ("engine weights", "engine workspace", "publication", "CUDA graphs", "KV cache")
    share = sum(column.parts[name] for name in engine) / JOB.gpu_bytes
    assert plan.engine.utilization == pytest.approx(share)


def test_colocated_parts_that_do_not_fit_together_take_turns() -> None:
    plan = plan_memory(recipe(1, learner={"tokens_per_microbatch": 32768}), JOB)
    assert plan.engine.sleeps
    assert plan.overfull is None
    sampling, learning = plan.columns
    assert "gradients" not in sampling.parts
    assert "engine weights" not in learning.parts
    assert "engine sleeps" in as_text(memory_table(plan))


def test_what_works_at_once_is_refused_where_it_would_have_to_take_turns() -> None:
    large = {"learner": {"tokens_per_microbatch": 32768}, "rollout": {"lag": 1}}
    config = recipe(1, **large)
    plan = plan_memory(config, JOB)
    assert (plan.engine.sleeps, plan.overfull) == (False, None)  # with a smaller cache
    less = JOB._replace(gpu_bytes=68 * GIB)
    assert plan_memory(changed(config, {"rollout.lag": 0}), less).engine.sleeps
    with pytest.raises(ConfigError, match=r"any of these fits: .*rollout.lag=0"):
        require_fit(plan_memory(config, less), config, less)
    assert plan_memory(recipe(3, rollout={"lag": 1}), JOB) == plan_memory(recipe(3), JOB)


def proposed(message: str) -> dict[str, Any]:
    return {
        name: json.loads(value) if value in ("true", "false") or value.isdigit() else value
        for name, value in re.findall(r"([\w.]+)=(\w+)", message)
    }


def test_what_does_not_fit_is_refused_with_changes_that_do() -> None:
    config = recipe(cluster={})
    with pytest.raises(ConfigError) as caught:
        require_fit(plan_memory(config, JOB), config, JOB)
    message = str(caught.value)
    assert "of 80.0 (optimizer 78.2" in message  # 12 bytes x 7e9 in GiB
    change = proposed(message)
    assert change["learner.zero_stage"] == 3
    fixed = changed(config, change)
    require_fit(plan_memory(fixed, JOB), fixed, JOB)
    fewer = change["cluster.learners"] // 2
    half = changed(config, change | {"cluster.learners": fewer, "cluster.engines": fewer})
    assert plan_memory(half, JOB).overfull is not None  # it names no more GPUs than are needed


@pytest.mark.parametrize(
    ("sections", "gib", "named"),
    [
        ({"learner": {"tokens_per_microbatch": 131072}}, 80, "learner.tokens_per_microbatch="),
        ({"model": {"gradient_checkpointing": False}}, 80, "model.gradient_checkpointing=true"),
    ],
)
def test_one_field_is_enough_where_it_is(sections: Any, gib: int, named: str) -> None:
    config, job = recipe(3, **sections), JOB._replace(gpu_bytes=gib * GIB)
    with pytest.raises(ConfigError, match=f"any of these fits: .*{named}"):
        require_fit(plan_memory(config, job), config, job)


def test_two_changes_that_fit_only_together_are_named_together() -> None:
    config = recipe(
        0,
        model={"gradient_checkpointing": False},
        cluster=EIGHT | {"layout": "separate"},
        learner={"tokens_per_microbatch": 65536},
    )
    job = JOB._replace(gpu_bytes=40 * GIB)
    with pytest.raises(ConfigError, match="these together fit: ") as caught:
        require_fit(plan_memory(config, job), config, job)
    change = proposed(str(caught.value))
    assert len(change) > 1
    fixed = changed(config, change)
    assert plan_memory(fixed, job).overfull is None


def test_a_gpu_that_nothing_fits_on_is_said_to_be_one() -> None:
    config, job = recipe(3), JOB._replace(gpu_bytes=4 * GIB)
    with pytest.raises(ConfigError, match="take a smaller model"):
        require_fit(plan_memory(config, job), config, job)


def test_the_table_adds_up() -> None:
    plan = plan_memory(recipe(3), JOB)
    rows = dict(re.findall(r"│ (.+?) +│ +(-?[\d.]+) │", as_text(memory_table(plan))))
    total, left = float(rows.pop("all")), float(rows.pop("left"))
    assert sum(map(float, rows.values())) == pytest.approx(total, abs=0.1)
    assert total + left == pytest.approx(80, abs=0.02)


def test_adapters_train_little_beside_weights_that_stay_whole() -> None:
    # Rank 16 beside seven matrices of each of 28 layers: 16 x 28 x (2 x (3584 + 3584) for query
    # and output, 2 x (3584 + 512) for key and value, 3 x (3584 + 18944) for the MLP).
    trained = 16 * 28 * (2 * 7168 + 2 * 4096 + 3 * 22528)
    config = recipe(1, learner={"lora": {"rank": 16}}, algorithm={"kl": 0.01}, cluster={})
    memory = learner_memory(config, SEVEN, teacher=None, bucket_elements=0)
    assert memory.weights == 14e9 + 2 * trained
    assert (memory.optimizer, memory.gradients) == (12 * trained, 2 * trained)
    assert memory.frozen == 2 * trained  # the reference is an adapter as well
    assert plan_memory(config, JOB).overfull is None


def test_one_step_ahead_nobody_sleeps() -> None:
    config = recipe(1, learner={"tokens_per_microbatch": 60000}, rollout={"lag": 1})
    plan = plan_memory(config, JOB)
    assert not plan.engine.sleeps
    assert plan.overfull is not None
    with pytest.raises(ConfigError, match=r"rollout\.lag=0"):
        require_fit(plan, config, JOB)


def test_weights_are_whole_on_each_gpu_before_stage_3_divides_them() -> None:
    # 42e9 parameters in bfloat16: 84e9 bytes whole, 21e9 a rank once they are divided by 32.
    job = JOB._replace(model=SEVEN._replace(parameters=42_000_000_000))
    cluster = {"backend": "ray", "learners": 32, "engines": 8, "layout": "separate"}
    config = recipe(3, cluster=cluster, rollout={"vllm": {"tensor_parallel_size": 4}})
    start, learner, _ = plan_memory(config, job).columns
    assert start.parts["learner weights, whole"] == 84e9
    assert learner.total < 40 * GIB
    plan = plan_memory(config, job)
    with pytest.raises(ConfigError, match="each learner GPU, starting would hold 81"):
        require_fit(plan, config, job)


def test_what_deepspeed_is_told_to_keep_on_the_host_is_not_on_the_gpu() -> None:
    zero = {"stage": 2, "offload_optimizer": {"device": "cpu"}, "reduce_bucket_size": 10**8}
    config = recipe(2, learner={"deepspeed": {"zero_optimization": zero}})
    memory = learner_memory(config, SEVEN, teacher=None, bucket_elements=0)
    assert (memory.optimizer, memory.host) == (0, 12 * SEVEN.parameters // 8)


def test_nccl_has_two_buffers_at_both_ends() -> None:
    cluster = EIGHT | {"layout": "separate", "weight_sync": "nccl"}
    # The largest matrix: 152,064 x 3584 x 2 bytes.
    for column in plan_memory(recipe(3, cluster=cluster), JOB).columns:
        assert column.parts["publication"] == 2 * 152_064 * 3584 * 2
    over_the_host = plan_memory(recipe(3, cluster=EIGHT | {"layout": "separate"}), JOB)
    assert "publication" not in over_the_host.columns[0].parts


def test_a_micro_batch_is_no_larger_than_a_step() -> None:
    large = recipe(3, learner={"tokens_per_microbatch": 10**6}, rollout={"problems_per_step": 1})
    exact = recipe(3, learner={"tokens_per_microbatch": 8 * 4096})  # one group of 8
    assert learner_of(large, JOB) == learner_of(exact, JOB)
