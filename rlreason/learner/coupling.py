"""What the sequences of an update must know of each other, computed before its backward passes.

Only losses with ``Loss.couple`` need it (P3O). In the first update of a step every ratio is 1, so
it costs nothing; a later one costs a forward pass without gradient. A rank holds groups
whole (algorithms/spreading.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlreason.algorithms.batching import MicroBatch
from rlreason.algorithms.losses import LOSSES, sequence_log_ratios
from rlreason.config import AlgorithmSection


def couple(
    plan: Sequence[MicroBatch],
    old: Sequence[Tensor] | None,
    forward: Callable[[MicroBatch], Tensor],
    algorithm: AlgorithmSection,
) -> Sequence[Tensor | None]:
    """For each micro-batch the [k, sequences] that its loss needs; None where it needs none.

    Args:
        plan: All micro-batches of the update.
        old: Old logprobs of each; None when they are the current ones.
        forward: Current logprobs [tokens] of a micro-batch.
        algorithm: Names the loss.
    """
    function = LOSSES[algorithm.loss].couple
    if function is None:
        return [None] * len(plan)
    ratios = [
        torch.zeros(microbatch.sequences.size, device=microbatch.targets.device)
        if old is None
        else _log_ratios(microbatch, forward, old[index], algorithm)
        for index, microbatch in enumerate(plan)
    ]
    advantages = [microbatch.sequences.firsts(microbatch.advantages) for microbatch in plan]
    groups = [microbatch.groups for microbatch in plan]
    coupled = function(torch.cat(ratios), torch.cat(advantages), torch.cat(groups), algorithm)
    return torch.split(coupled, [microbatch.sequences.size for microbatch in plan], dim=1)


def _log_ratios(
    microbatch: MicroBatch,
    forward: Callable[[MicroBatch], Tensor],
    old: Tensor,
    algorithm: AlgorithmSection,
) -> Tensor:
    with torch.no_grad():
        return sequence_log_ratios(
            forward(microbatch),
            old,
            torch.ones_like(microbatch.targets, dtype=torch.bool),
            microbatch.sequences,
            token_mean=algorithm.pair_ratio == "token_mean",
        )
