"""The plan of a learner rank against every tensor that a real update makes, counted on a CPU."""

import gc
from typing import Any

import pytest
import torch
from allocations import Allocations, bytes_alive
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from rlreason.algorithms.batching import collate
from rlreason.cluster.inline import prepare_process
from rlreason.config import ClusterSection, GrpoConfig
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.learner.policy import PolicyScorer
from rlreason.memory.learner import activations, learner_memory
from rlreason.memory.shape import shape_of
from rlreason.types import TrainBatch, TrainSequence

BUCKET = 10_000
LLAMA = LlamaConfig(
    vocab_size=2048, hidden_size=128, num_hidden_layers=4, num_attention_heads=8,
    num_key_value_heads=2, intermediate_size=384, attn_implementation="sdpa",
)  # fmt: skip
QWEN = Qwen2Config(
    vocab_size=2048, hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=4, intermediate_size=512, attn_implementation="sdpa",
)  # fmt: skip


def recipe(dtype: str, *, checkpointing: bool = False, **learner: Any) -> GrpoConfig:
    return GrpoConfig.model_validate(
        {
            "model": {"path": "x", "dtype": dtype, "gradient_checkpointing": checkpointing},
            "pools": [{"name": "a", "source": "unused", "reward": "unused:Unused"}],
            "learner": learner,
        }
    )


def sequence(length: int, first: int = 0) -> TrainSequence:
    mask = (False,) * 4 + (True,) * (length - 4)
    return TrainSequence(
        token_ids=tuple(range(first, first + length)),
        loss_mask=mask,
        advantages=tuple(float(counted) for counted in mask),
        rollout_logprobs=None,
    )


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("kind", "shape", "logits_mib"), [(LlamaForCausalLM, LLAMA, 64), (Qwen2ForCausalLM, QWEN, 1)]
)
def test_activations_at_the_token_budget(
    kind: Any, shape: Any, logits_mib: int, dtype: str, checkpointing: bool
) -> None:
    config = recipe(
        dtype, checkpointing=checkpointing, tokens_per_microbatch=1024, logits_mib=logits_mib
    )
    model = kind(shape).to(getattr(torch, dtype)).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    scorer = PolicyScorer(model, temperature=1.0, logits_mib=logits_mib)
    batch = collate([(sequence(128),)] * 8, torch.device("cpu"))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    gc.collect()
    with Allocations() as counted:
        logprobs, _ = scorer(batch)
        logprobs.sum().backward()
    assert activations(config, shape_of(shape)) == pytest.approx(counted.peak, rel=0.1)


@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("bfloat16", 0), ("bfloat16", 3)])
def test_state_between_updates_and_peak_of_the_step(dtype: str, stage: int) -> None:
    zero = {
        "stage": max(stage, int(dtype == "bfloat16")),
        "reduce_bucket_size": BUCKET,
        "stage3_param_persistence_threshold": 0,
    }
    config = recipe(
        dtype, zero_stage=stage, tokens_per_microbatch=8, deepspeed={"zero_optimization": zero}
    )
    # No embedding that is most of the model, as in large ones.
    shape = LlamaConfig(**LLAMA.to_dict() | {"vocab_size": 64, "num_hidden_layers": 8})
    planned = learner_memory(config, shape_of(shape), teacher=None, bucket_elements=BUCKET)
    prepare_process(ClusterSection(threads=1))
    before = bytes_alive()
    # Two micro-batches: the second one's activations stand beside the first one's gradients.
    batch = TrainBatch(sequences=(sequence(8), sequence(8, 9)), num_loss_tokens=8, num_left_out=0)
    with Allocations() as counted:
        learner = DeepSpeedLearner(
            LlamaForCausalLM(shape).to(getattr(torch, dtype)).train(),
            None,
            learner=config.learner,
            algorithm=config.algorithm,
            temperature=1.0,
            total_steps=2,
        )
        learner.update([batch], step=0)
        assert planned.resting == pytest.approx(bytes_alive() - before, rel=0.03)
        resting = counted.peak = counted.now
        learner.update([batch], step=1)
    assert planned.working == pytest.approx(counted.peak - resting, rel=0.1)
