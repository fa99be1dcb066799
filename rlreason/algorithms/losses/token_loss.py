"""What every loss takes and returns: one value for each loss token, not yet aggregated."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.errors import ShapeError


class TokenLoss(NamedTuple):
    """A loss before aggregation (``aggregation.py`` makes one number of it)."""

    values: Tensor
    """[...] loss of each token, 0 where loss_mask is False; carries the gradient."""
    clipped: Tensor
    """[...] bool, True where the clip changed what the token learns."""


def checked_shapes(where: str, **tensors: Tensor) -> None:
    """Refuse tensors of different shapes.

    Raises:
        ShapeError: Naming each tensor's shape.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) != 1:
        raise ShapeError(f"{where} needs equal shapes, got {shapes}")


def masked(loss_mask: Tensor, values: Tensor) -> Tensor:
    """``values`` with 0 where ``loss_mask`` is False.

    To be used before any ``exp`` or product: 0 * inf would be NaN, in the loss and in its gradient.
    """
    return torch.where(loss_mask, values, 0.0)
