"""Sums over the tokens of each sequence, where tokens of many sequences stand in one flat row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Sequences(NamedTuple):
    """Which token belongs to which sequence. A sequence is never divided over micro-batches."""

    ids: Tensor
    """[tokens] int64, from 0 to ``size - 1``."""
    size: int

    def sums(self, values: Tensor) -> Tensor:
        """[sequences] sum of ``values`` [tokens] over each sequence."""
        return values.new_zeros(self.size).index_add(0, self.ids, values)

    def lengths(self, counted: Tensor) -> Tensor:
        """[sequences] True entries of ``counted`` [tokens] bool, at least 1."""
        return self.sums(counted.double()).clamp(min=1)

    def means(self, values: Tensor, counted: Tensor) -> Tensor:
        """[sequences] mean of ``values`` over the tokens where ``counted``; 0 where none is."""
        total = self.sums(torch.where(counted, values, 0.0))
        return total / self.lengths(counted).to(values.dtype)

    def firsts(self, values: Tensor) -> Tensor:
        """[sequences] the value of each sequence's first token."""
        starts = torch.ones_like(self.ids, dtype=torch.bool)
        starts[1:] = self.ids[1:] != self.ids[:-1]
        return values[starts]
