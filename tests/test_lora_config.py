"""Recipes that ask for LoRA: what is refused, before anything heavy starts."""

import importlib.util
from typing import Any

import pytest
from pydantic import ValidationError

from rlreason.config import CftConfig, GrpoConfig, LoraSection
from rlreason.config_file import load_config, load_run_config
from rlreason.errors import ConfigError
from rlreason.memory.learner import learner_memory
from rlreason.memory.shape import model_shape
from rlreason.models import resolve_model
from rlreason.preflight_cft import as_grpo
from rlreason.preflight_lora import check_lora, explicit_targets

MODEL = resolve_model("tiny-arithmetic")


def grpo(lora: dict[str, Any], learner: dict[str, Any] | None = None, **rollout: Any) -> GrpoConfig:
    return GrpoConfig.model_validate(
        {
            "model": {"path": "tiny-arithmetic"},
            "pools": [{"name": "add3", "source": "arithmetic:add", "reward": "unused:Unused"}],
            "rollout": rollout,
            "learner": {"lora": lora} | (learner or {}),
        }
    )


def test_an_adapter_does_not_go_the_way_of_whole_weights() -> None:
    fields = grpo({"publish": "adapter"}).model_dump()
    fields["cluster"] |= {"backend": "ray", "weight_sync": "cuda_ipc"}
    with pytest.raises(ValidationError, match="that carries whole weights"):
        GrpoConfig.model_validate(fields)
    fields["learner"]["lora"]["publish"] = "merged"
    assert GrpoConfig.model_validate(fields).cluster.weight_sync == "cuda_ipc"


def test_lora_is_off_by_default_and_on_by_its_section() -> None:
    assert load_config("grpo.yaml").learner.lora is None
    lora = grpo({}).learner.lora
    assert lora is not None
    assert (lora.publish, lora.target_modules) == ("merged", "all-linear")


@pytest.mark.parametrize(
    ("lora", "learner", "rollout", "message"),
    [
        ({}, {"zero_stage": 3}, {}, "use zero_stage 0, 1 or 2"),
        ({}, {"deepspeed": {"zero_optimization": {"stage": 3}}}, {}, "use zero_stage 0, 1 or 2"),
        ({"dropout": 0.1}, {}, {}, "samples without dropout"),
        (
            {"publish": "adapter"},
            {},
            {"vllm": {"tensor_parallel_size": 2}},
            "use publish = merged",
        ),
        ({"rank": 1024}, {}, {}, "less than or equal to 512"),
        ({"target_modules": []}, {}, {}, "at least 1 item"),
        ({"targets": ["q_proj"]}, {}, {}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(
    lora: dict[str, Any], learner: dict[str, Any], rollout: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        grpo(lora, learner, **rollout)


def test_merged_publication_goes_with_tensor_parallel_engines() -> None:
    assert grpo({"publish": "merged"}, vllm={"tensor_parallel_size": 2}).learner.lora


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("q_prj", "did you mean 'q_proj'"),
        ("lm_head", "names lm_head, which is no linear layer inside the model"),
        ("embed_tokens", "no linear layer"),
        ("self_attn", "no linear layer"),
        ("proj", "is no module of the model"),
    ],
)
def test_a_target_is_a_linear_layer_of_the_model(target: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_lora(LoraSection(target_modules=("v_proj", target)), MODEL)


def test_targets_may_be_ends_of_names() -> None:
    section = LoraSection(target_modules=("self_attn.q_proj", "layers.0.mlp.up_proj"))
    check_lora(section, MODEL)
    assert explicit_targets(section, MODEL).target_modules == ("q_proj", "up_proj")
    everything = explicit_targets(LoraSection(), MODEL).target_modules
    names = "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj"
    assert everything == tuple(names.split())


def test_a_missing_peft_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "peft" else find(name)
    )
    check_lora(None, MODEL)
    with pytest.raises(ConfigError, match=r"pip install 'rlreason\[lora\]'"):
        check_lora(LoraSection(), MODEL)


def test_critique_fine_tuning_takes_lora_and_tests_whole_policies() -> None:
    config = load_run_config("cft.yaml", ["learner.lora={rank: 4, dropout: 0.1}"])
    assert isinstance(config, CftConfig)
    assert config.learner.lora is not None
    assert as_grpo(config).learner.lora is None
    with pytest.raises(ConfigError, match="nothing is published here"):
        load_run_config("cft.yaml", ["learner.lora={publish: adapter}"])


def test_the_memory_plan_counts_what_trains() -> None:
    shape = model_shape(MODEL)
    full = learner_memory(load_config("grpo.yaml"), shape, teacher=None, bucket_elements=10**9)
    lora = learner_memory(grpo({"rank": 4}), shape, teacher=None, bucket_elements=10**9)
    # Rank 4 beside 3 layers: q, k, v, o of 64 + 64, gate, up, down of 64 + 128.
    trained = 4 * 3 * (4 * 128 + 3 * 192)
    assert lora.optimizer == 8 * trained
    assert lora.gradients == 4 * trained
    assert lora.weights == full.weights + 4 * trained


def test_the_lora_recipe_has_the_problems_of_the_default_run() -> None:
    lora, default = load_config("grpo_lora.yaml"), load_config("grpo.yaml")
    for section in ("model", "prompt", "pools", "curriculum", "scoring", "rollout", "algorithm"):
        assert getattr(lora, section) == getattr(default, section)
    assert lora.learner.lora is not None
    assert lora.learner.lora.publish == "adapter"
