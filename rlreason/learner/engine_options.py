"""What DeepSpeed is told, derived from the recipe."""

from __future__ import annotations

from typing import Any

import torch

from rlreason.config import LearnerSection

BUCKET_ELEMENTS = 100_000_000
"""Gradients that ZeRO collects before it reduces them, and weights that it gathers at once. The
buffer exists whole: DeepSpeed's own 500 million are a GiB in bfloat16 beside any model."""


def deepspeed_config(learner: LearnerSection, dtype: torch.dtype) -> dict[str, Any]:
    """What DeepSpeed is told. ``learner.deepspeed`` wins over what is derived here.

    The caller owns the accumulation boundary: the number of micro-batches differs per step. In
    bfloat16 stage 0 becomes 1, which keeps float32 master weights and is the same on one rank.
    """
    low_precision = dtype == torch.bfloat16
    derived: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": learner.max_grad_norm,
        "zero_optimization": {
            "stage": max(learner.zero_stage, 1 if low_precision else 0),
            "overlap_comm": False,
            "reduce_bucket_size": BUCKET_ELEMENTS,
            "allgather_bucket_size": BUCKET_ELEMENTS,
        },
        "bf16": {"enabled": low_precision},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31,
    }
    return derived | learner.deepspeed
