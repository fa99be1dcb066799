"""What DeepSpeed is told, derived from the recipe."""

from __future__ import annotations

from typing import Any

import torch

from rlreason.config import LearnerSection

MAX_BUCKET = 100_000_000
"""Elements of DeepSpeed's reduction buffer, which it allocates whole. Its own 500 million would be
a GiB in bfloat16 beside any model; a fifth keeps a link as busy."""


def deepspeed_config(
    learner: LearnerSection, dtype: torch.dtype, *, parameters: int
) -> dict[str, Any]:
    """What DeepSpeed is told. ``learner.deepspeed`` wins over what is derived here.

    The caller owns the accumulation boundary: the number of micro-batches differs per step. In
    bfloat16 stage 0 becomes 1, which keeps float32 master weights and is the same on one rank.
    Buffers are no larger than the model's ``parameters``: in deterministic mode torch fills what
    DeepSpeed only reserves, 2 GB of float32 by default.
    """
    low_precision, bucket = dtype == torch.bfloat16, min(parameters, MAX_BUCKET)
    derived: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": learner.max_grad_norm,
        "zero_optimization": {
            "stage": max(learner.zero_stage, 1 if low_precision else 0),
            "overlap_comm": False,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        },
        "bf16": {"enabled": low_precision},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31,
    }
    return derived | learner.deepspeed
