"""What the updates of a step were, over all their micro-batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rlreason.algorithms.batching import MicroBatch
from rlreason.learner.objective import Sums
from rlreason.types import UpdateStats


def update_stats(
    total: Sums,
    plans: Sequence[Sequence[MicroBatch]],
    rate: float,
    norms: Sequence[float],
    *,
    skipped: bool,
    ranks: int,
) -> UpdateStats:
    """Means over the updates of a step.

    Args:
        total: Sums over all loss tokens, of every rank.
        plans: This rank's micro-batches of each update.
        rate: Learning rate.
        norms: Gradient norm of each update.
        skipped: Whether any of them was skipped.
        ranks: Ranks, all of which call this.
    """
    counts = torch.tensor(
        [
            [microbatch.num_tokens, microbatch.input_ids.numel()]
            for plan in plans
            for microbatch in plan
        ],
        device=total.loss.device,
    ).sum(0)
    if ranks > 1:
        torch.distributed.all_reduce(counts)
    real, computed = counts.tolist()
    tokens = float(total.tokens)
    return UpdateStats(
        loss=float(total.loss) / len(plans),
        grad_norm=sum(norms) / len(norms),
        learning_rate=rate,
        entropy=float(total.entropy) / tokens,
        clip_frac=float(total.clip) / tokens,
        bounded_frac=float(total.bounded) / tokens,
        mismatch_kl=float(total.mismatch_kl) / tokens,
        mismatch_abs=float(total.mismatch_abs) / tokens,
        kl=float(total.kl) / tokens,
        num_tokens=real,
        padding_frac=1 - real / computed,
        skipped=skipped,
    )
