"""What ``rlreason doctor`` tries in a process of its own: ``python -m rlreason.doctor_trial NAME``.

A library that hangs or takes its process down then takes only the trial down. The trials drive the
adapters, so what passes here is what a run uses. The last line printed is JSON: what was seen.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlreason.config import ClusterSection, GrpoConfig
from rlreason.types import Problem, TrainBatch, TrainSequence

NUM_TOKENS = 4
"""Tokens that the vLLM trial samples."""

_VOCABULARY = 64


class PlainCodec:
    """Stands in for a tokenizer: every prompt is the same three tokens."""

    def encode(self, problem: Problem) -> tuple[int, ...]:  # noqa: ARG002  one prompt for all
        """The prompt."""
        return (1, 2, 3)

    def decode(self, token_ids: Any) -> str:
        """The ids as text."""
        return " ".join(map(str, token_ids))


def _config() -> GrpoConfig:
    return GrpoConfig.model_validate(
        {
            "model": {"path": "trial"},
            "pools": [{"name": "trial", "source": "trial", "reward": "trial:Trial"}],
            "rollout": {
                "problems_per_step": 1,
                "group_size": 2,
                "max_completion_tokens": NUM_TOKENS,
            },
        }
    )


def _tiny_llama() -> Any:
    """A Llama of 30 thousand random weights, made here: nothing is loaded from anywhere."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=_VOCABULARY,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
        )
    )


def see_torch() -> dict[str, Any]:
    """Version and GPUs."""
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else range(0)
    properties = [torch.cuda.get_device_properties(index) for index in devices]
    return {
        "version": torch.__version__,
        "gpus": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in properties],
    }


def see_torchvision() -> dict[str, Any]:
    """Whether it fits torch: a build for another torch breaks every import of vLLM."""
    import importlib

    return {"version": importlib.import_module("torchvision").__version__}


def try_deepspeed() -> dict[str, Any]:
    """One optimizer step of a tiny model."""
    from rlreason.cluster.inline import prepare_process
    from rlreason.learner.deepspeed_learner import DeepSpeedLearner

    setup = prepare_process(ClusterSection())
    config = _config()
    learner = DeepSpeedLearner(
        _tiny_llama().to(setup.device),
        None,
        learner=config.learner,
        algorithm=config.algorithm,
        temperature=1.0,
        total_steps=1,
    )
    sequence = TrainSequence(
        token_ids=(1, 2, 3, 4),
        loss_mask=(False, False, True, True),
        advantages=(0.0, 0.0, 1.0, 1.0),
        rollout_logprobs=None,
    )
    stats = learner.update([TrainBatch(sequences=(sequence,), num_loss_tokens=2)], step=0)
    if stats.skipped:
        raise RuntimeError("the update of a tiny model was not finite")
    return {"device": setup.device, "grad_norm": stats.grad_norm}


def try_vllm() -> dict[str, Any]:
    """Start an engine on a tiny model and sample a few tokens."""
    from rlreason.cluster.inline import prepare_process
    from rlreason.rollout.vllm_engine import EngineStart, VllmEngine

    setup = prepare_process(ClusterSection())
    with tempfile.TemporaryDirectory() as folder:
        _tiny_llama().save_pretrained(folder)
        start = EngineStart(
            path=Path(folder), version=0, max_len=16, eos_ids=(), threads=setup.threads
        )
        engine = VllmEngine(_config(), PlainCodec(), start)
        problem = Problem(id="1", pool="trial", prompt="trial")
        [group] = engine.generate([problem], step=0)
    lengths = [len(rollout.completion_ids) for rollout in group.rollouts]
    if lengths != [NUM_TOKENS] * len(lengths):
        raise RuntimeError(f"sampled {lengths} tokens where {NUM_TOKENS} each were asked for")
    return {"device": setup.device, "tokens": sum(lengths)}


TRIALS: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": see_torch,
    "torchvision": see_torchvision,
    "deepspeed": try_deepspeed,
    "vllm": try_vllm,
}

if __name__ == "__main__":
    print(json.dumps(TRIALS[sys.argv[1]]()), flush=True)
