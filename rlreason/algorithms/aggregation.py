"""From a value for each token to the loss of an update, exact for any split.

Every mean divides by a count of the whole update (all micro-batches, all ranks, and what was left
out because its gradient is zero), so the parts of a split add up to the whole.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from rlreason.algorithms.sequences import Sequences
from rlreason.config import AlgorithmSection
from rlreason.types import TrainBatch


class Denominators(NamedTuple):
    """Counts over a whole update."""

    num_loss_tokens: int
    num_sequences: int

    @classmethod
    def of(cls, batch: TrainBatch) -> Denominators:
        """Those of ``batch``, with what was left out of it."""
        return cls(batch.num_loss_tokens, batch.num_sequences)


def token_mean(values: Tensor, loss_mask: Tensor, denominators: Denominators) -> Tensor:
    """``sum of values / num_loss_tokens``: every token weighs the same (DAPO).

    Args:
        values: [tokens]; anything, NaN included, where loss_mask is False.
        loss_mask: [tokens] bool.
        denominators: Of the whole update.
    """
    return torch.where(loss_mask, values, 0.0).sum() / denominators.num_loss_tokens


def sequence_mean(
    values: Tensor, loss_mask: Tensor, sequences: Sequences, denominators: Denominators
) -> Tensor:
    """``mean over sequences of (mean over the sequence's tokens)``: GRPO's paper, GSPO, P3O.

    Every completion weighs the same, so a token of a short one weighs more than one of a long one.

    Args:
        values: [tokens]; anything, NaN included, where loss_mask is False.
        loss_mask: [tokens] bool; a sequence is divided by its True entries.
        sequences: Which token belongs to which sequence.
        denominators: Of the whole update.
    """
    return sequences.means(values, loss_mask).sum() / denominators.num_sequences


def constant(
    values: Tensor, loss_mask: Tensor, denominators: Denominators, tokens_per_sequence: int
) -> Tensor:
    """``sum of values / (num_sequences * tokens_per_sequence)``: Dr.GRPO (arXiv:2503.20783).

    A constant instead of lengths: neither the length of a completion nor that of the others
    changes what its tokens weigh.

    Args:
        values: [tokens]; anything, NaN included, where loss_mask is False.
        loss_mask: [tokens] bool.
        denominators: Of the whole update.
        tokens_per_sequence: Any constant; the completion limit is usual.
    """
    total = torch.where(loss_mask, values, 0.0).sum()
    return total / (denominators.num_sequences * tokens_per_sequence)


class Aggregation(Protocol):
    """What ``AGGREGATIONS`` holds."""

    def __call__(
        self,
        values: Tensor,
        *,
        loss_mask: Tensor,
        sequences: Sequences,
        denominators: Denominators,
        options: AlgorithmSection,
    ) -> Tensor:
        """[] from [tokens]."""
        ...


def _token_mean(
    values: Tensor, *, loss_mask: Tensor, denominators: Denominators, **_: Any
) -> Tensor:
    return token_mean(values, loss_mask, denominators)


def _sequence_mean(
    values: Tensor,
    *,
    loss_mask: Tensor,
    sequences: Sequences,
    denominators: Denominators,
    **_: Any,
) -> Tensor:
    return sequence_mean(values, loss_mask, sequences, denominators)


def _constant(
    values: Tensor,
    *,
    loss_mask: Tensor,
    denominators: Denominators,
    options: AlgorithmSection,
    **_: Any,
) -> Tensor:
    assert options.tokens_per_sequence is not None, "checked by AlgorithmSection"
    return constant(values, loss_mask, denominators, options.tokens_per_sequence)


AGGREGATIONS: dict[str, Aggregation] = {
    "token_mean": _token_mean,
    "sequence_mean": _sequence_mean,
    "constant": _constant,
}
"""What ``algorithm.aggregation`` may name."""
