"""The plan of a learner rank against every tensor that a real update makes, counted on a CPU."""

import gc
from typing import Any

import pytest
import torch
from allocations import Allocations
from measured_update import recipe, sequence, update
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from rlreason.algorithms.batching import collate
from rlreason.cluster.inline import prepare_process
from rlreason.config import ClusterSection, GrpoConfig
from rlreason.learner.policy import PolicyScorer
from rlreason.memory.activations import activations
from rlreason.memory.shape import shape_of
from rlreason.types import TrainSequence

LLAMA = LlamaConfig(
    vocab_size=2048, hidden_size=128, num_hidden_layers=4, num_attention_heads=8,
    num_key_value_heads=2, intermediate_size=384, attn_implementation="sdpa",
)  # fmt: skip
QWEN = Qwen2Config(
    vocab_size=2048, hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=4, intermediate_size=512, attn_implementation="sdpa",
)  # fmt: skip


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
    counted = forward_and_backward(kind(shape), config, [sequence(128)] * 8)
    assert activations(config, shape_of(shape)).peak == pytest.approx(counted, rel=0.1)


def forward_and_backward(model: Any, config: GrpoConfig, sequences: list[TrainSequence]) -> int:
    """Most bytes at once, beside weights and their gradients."""
    model = model.to(getattr(torch, config.model.dtype)).train()
    if config.model.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    scorer = PolicyScorer(model, temperature=1.0, logits_mib=config.learner.logits_mib)
    batch = collate([(one,) for one in sequences], torch.device("cpu"))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    gc.collect()
    known = [tensor for p in model.parameters() for tensor in (p, p.grad) if tensor is not None]
    with Allocations(known) as counted:
        logprobs, _ = scorer(batch)
        logprobs.sum().backward()
    return counted.peak


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tokens", [16, 256])
def test_the_head_of_a_large_vocabulary(dtype: str, tokens: int) -> None:
    # 16 tokens' logits are made at once, those of 256 in four parts: then three gradients of the
    # head are there while one is added to another.
    shape = LlamaConfig(**LLAMA.to_dict() | {"vocab_size": 32768})
    config = recipe(dtype, tokens_per_microbatch=tokens, logits_mib=8)
    counted = forward_and_backward(LlamaForCausalLM(shape), config, [sequence(tokens)])
    assert activations(config, shape_of(shape)).peak == pytest.approx(counted, rel=0.2)


@pytest.mark.parametrize(("dtype", "stage"), [("float32", 0), ("bfloat16", 0), ("bfloat16", 3)])
def test_state_between_updates_and_peak_of_the_step(dtype: str, stage: int) -> None:
    prepare_process(ClusterSection(threads=1))
    planned, counted = update(dtype, stage)
    assert planned.resting == pytest.approx(counted.resting, rel=0.03)
    assert planned.working == pytest.approx(counted.working, rel=0.1)
