"""Which rank computes which sequences. Every rank plans for all of them, so nobody needs to ask."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rlreason.algorithms.batching import MicroBatch, Row, collate, plan_rows, row_tokens, split_rows
from rlreason.types import TrainSequence

Unit = Sequence[Row]
"""Rows that one rank computes together."""


def plan_for_ranks(
    sequences: Sequence[TrainSequence],
    *,
    ranks: int,
    budget: int,
    max_shared_row: int,
    width: int,
    whole_groups: bool = False,
) -> list[list[list[Row]]]:
    """Micro-batches of each rank: every sequence once, and as many micro-batches on every rank.

    An empty micro-batch has no rows: its rank takes part in the collectives and adds nothing.

    Args:
        sequences: Everything of one update.
        ranks: Data-parallel ranks.
        budget: Padded tokens of a micro-batch.
        max_shared_row: As for ``plan_microbatches``.
        width: Hidden size of the model, for the cost of attention.
        whole_groups: Whether a rank holds all sequences of a group or none, as losses with
            ``Loss.couple`` need; else rows are dealt one by one, which is more even.
    """
    units = _units(sequences, max_shared_row, whole_groups=whole_groups)
    plans = [split_rows(share, budget) for share in spread(units, ranks=ranks, width=width)]
    count = max(map(len, plans))
    return [plan + [[] for _ in range(count - len(plan))] for plan in plans]


def _units(
    sequences: Sequence[TrainSequence], max_shared_row: int, *, whole_groups: bool
) -> list[Unit]:
    if not whole_groups:
        return [[row] for row in plan_rows(sequences, max_shared_row)]
    groups: dict[int, list[TrainSequence]] = {}
    for sequence in sequences:
        groups.setdefault(sequence.group, []).append(sequence)
    # Two groups of one prompt could share a row, so rows are made within groups.
    return [plan_rows(members, max_shared_row) for members in groups.values()]


def spread(units: Sequence[Unit], *, ranks: int, width: int) -> list[list[Row]]:
    """Deal units so that the dearest share is cheap: the dearest first, to the poorest rank.

    At most 4/3 of the best possible (Graham 1969). Ties go to the lower rank, so that every rank
    finds the same. Within a rank rows stay in their order.
    """
    costs = [sum(row_cost(row_tokens(row), width) for row in unit) for unit in units]
    loads = [0.0] * ranks
    owners = [0] * len(units)
    for index in sorted(range(len(units)), key=lambda index: (-costs[index], index)):
        poorest = min(range(ranks), key=lambda rank: (loads[rank], rank))
        owners[index] = poorest
        loads[poorest] += costs[index]
    return [
        [row for unit, owner in zip(units, owners, strict=True) if owner == rank for row in unit]
        for rank in range(ranks)
    ]


def row_cost(tokens: int, width: int) -> float:
    """Work of a row, in tokens of matrix products.

    Per layer and token the products of a usual block take 24 width^2 operations and attention over
    n tokens 4 n width, so n tokens cost n (1 + n / (6 width)).
    """
    return tokens * (1 + tokens / (6 * width))


def empty_microbatch(device: torch.device) -> MicroBatch:
    """What a rank computes that has run out of rows: two tokens whose loss nobody adds up."""
    filler = TrainSequence(
        token_ids=(0, 0), loss_mask=(False, True), advantages=(0.0, 0.0), rollout_logprobs=None
    )
    return collate([(filler,)], device)._replace(num_tokens=0)
