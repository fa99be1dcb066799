"""What real updates of a learner rank hold, against the plan; also run as one rank of several."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NamedTuple

os.environ["GLOO_SOCKET_IFNAME"] = "lo"

import torch
from allocations import Allocations, bytes_alive
from torch.utils._python_dispatch import _disable_current_modes
from transformers import LlamaConfig, LlamaForCausalLM

from rlreason.cluster.inline import RankPlace, prepare_process
from rlreason.config import ClusterSection, GrpoConfig
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.memory.learner import learner_memory
from rlreason.memory.shape import shape_of
from rlreason.types import TrainBatch, TrainSequence

BUCKET = 10_000


class Bytes(NamedTuple):
    """Between updates, and on top of it while one is made."""

    resting: float
    working: float


def recipe(
    dtype: str, *, ranks: int = 1, checkpointing: bool = False, **learner: Any
) -> GrpoConfig:
    return GrpoConfig.model_validate(
        {
            "model": {"path": "x", "dtype": dtype, "gradient_checkpointing": checkpointing},
            "pools": [{"name": "a", "source": "unused", "reward": "unused:Unused"}],
            "learner": learner,
            "cluster": {"backend": "ray", "learners": ranks} if ranks > 1 else {},
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


def update(
    dtype: str, stage: int, *, ranks: int = 1, tokens: int = 8, layers: int = 8, **limits: int
) -> tuple[Bytes, Bytes]:
    """(planned, counted) of this rank; ``limits`` are DeepSpeed's, on ZeRO."""
    zero = {
        "stage": max(stage, int(dtype == "bfloat16")),
        "reduce_bucket_size": BUCKET,
        "stage3_param_persistence_threshold": 0,
    }
    config = recipe(
        dtype,
        ranks=ranks,
        zero_stage=stage,
        tokens_per_microbatch=tokens,
        deepspeed={"zero_optimization": zero | limits},
    )
    # No embedding that is most of the model, as in large ones.
    shape = LlamaConfig(
        vocab_size=64, hidden_size=128, num_hidden_layers=layers, num_attention_heads=8,
        num_key_value_heads=2, intermediate_size=384, attn_implementation="sdpa",
    )  # fmt: skip
    planned = learner_memory(config, shape_of(shape), teacher=None, bucket_elements=BUCKET)
    before = bytes_alive()
    # Two micro-batches a rank: the second one's activations stand beside the first one's gradients.
    sequences = tuple(sequence(tokens, first) for first in range(2 * ranks))
    loss_tokens = sum(one.num_loss_tokens for one in sequences)
    batch = TrainBatch(sequences=sequences, num_loss_tokens=loss_tokens, num_left_out=0)
    with Allocations() as counted:
        learner = DeepSpeedLearner(
            LlamaForCausalLM(shape).to(getattr(torch, dtype)).train(),
            None,
            learner=config.learner,
            algorithm=config.algorithm,
            temperature=1.0,
            total_steps=4,
        )
        learner.update([batch], step=0)
        alive = bytes_alive() - before
        resting = counted.now
        # gloo's threads may hold a tensor on for a moment on busy cores, and so raise one peak.
        peaks = []
        for step in (1, 2, 3):
            counted.peak = counted.now
            learner.update([batch], step=step)
            peaks.append(counted.peak)
    return Bytes(planned.resting, planned.working), Bytes(alive, min(peaks) - resting)


def main() -> None:
    """Make the updates that the command line names as one of several ranks, and print the bytes."""
    rank, ranks, meeting, cases = json.loads(sys.argv[1])
    plain = torch.distributed.reduce_scatter_tensor

    def uncounted(*args: Any, **options: Any) -> Any:
        with _disable_current_modes():  # gloo copies what NCCL adds up in place
            return plain(*args, **options)

    torch.distributed.reduce_scatter_tensor = uncounted  # type: ignore[assignment]
    prepare_process(ClusterSection(threads=1), RankPlace(rank, ranks, f"file://{meeting}"))
    results = [update(**case, ranks=ranks) for case in cases]
    torch.distributed.barrier()
    print(json.dumps(results), flush=True)
    os._exit(0)  # gloo's threads may abort an ordinary exit


if __name__ == "__main__":
    main()
