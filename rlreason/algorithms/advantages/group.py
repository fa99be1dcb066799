"""Advantages that compare a completion with the others of its group, and with nothing else.

All take ``rewards [groups, group_size]`` and a mask of the same shape that is False where the
reward is unknown (a scorer fault). Masked entries reach no statistic and get 0, as does a group
with fewer than two known rewards: an advantage compares. All are exactly 0 where the counted
rewards of a group are equal, and do not change when a group's rewards are shifted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlreason.errors import ShapeError

EPSILON = 1e-6
"""Added to the standard deviation, as in DUMP's and verl's released code."""


def centered(rewards: Tensor, counted: Tensor) -> Tensor:
    """``A_i = r_i - mean(r)``, the unnormalised advantage of Dr.GRPO (arXiv:2503.20783).

    Args:
        rewards: [groups, group_size] float.
        counted: [groups, group_size] bool, False where the reward is unknown.

    Returns:
        [groups, group_size] float64; exactly 0 where all counted rewards of the group are equal.

    Raises:
        ShapeError: If the two differ in shape or are not [groups, group_size].
    """
    check_shapes(rewards, counted)
    values = torch.where(counted, rewards, 0.0).double()
    num_counted = counted.sum(dim=1, keepdim=True)
    mean = values.sum(dim=1, keepdim=True) / num_counted.clamp(min=1)
    # Rounding of the mean must not turn equal rewards into a signal that normalisation blows up.
    highest = values.masked_fill(~counted, -torch.inf).amax(dim=1, keepdim=True)
    lowest = values.masked_fill(~counted, torch.inf).amin(dim=1, keepdim=True)
    informative = counted & (num_counted >= 2) & (highest > lowest)
    return torch.where(informative, values - mean, 0.0)


def group_normalized(rewards: Tensor, counted: Tensor) -> Tensor:
    """``A_i = (r_i - mean(r)) / (std(r) + 1e-6)``, GRPO (arXiv:2402.03300), sample std (ddof 1).

    Args:
        rewards: [groups, group_size] float.
        counted: [groups, group_size] bool, False where the reward is unknown.

    Returns:
        [groups, group_size] float64; exactly 0 where all counted rewards of the group are equal.

    Raises:
        ShapeError: If the two differ in shape or are not [groups, group_size].
    """
    deviation = centered(rewards, counted)
    degrees = (counted.sum(dim=1, keepdim=True) - 1).clamp(min=1)
    std = (deviation.square().sum(dim=1, keepdim=True) / degrees).sqrt()
    return deviation / (std + EPSILON)


def leave_one_out(rewards: Tensor, counted: Tensor) -> Tensor:
    """``A_i = r_i - mean of the others' r``, RLOO (arXiv:2402.14740).

    The same as ``K / (K - 1) * (r_i - mean(r))`` for K counted rewards: an unbiased baseline,
    since it does not hold the completion that it judges.

    Args:
        rewards: [groups, group_size] float.
        counted: [groups, group_size] bool, False where the reward is unknown.

    Returns:
        [groups, group_size] float64; exactly 0 where all counted rewards of the group are equal.

    Raises:
        ShapeError: If the two differ in shape or are not [groups, group_size].
    """
    deviation = centered(rewards, counted)
    num_counted = counted.sum(dim=1, keepdim=True)
    return deviation * num_counted / (num_counted - 1).clamp(min=1)


def check_shapes(rewards: Tensor, counted: Tensor) -> None:
    """Refuse anything but two [groups, group_size] of one shape.

    Raises:
        ShapeError: Naming both shapes.
    """
    if rewards.ndim != 2 or rewards.shape != counted.shape:
        raise ShapeError(
            "advantages need rewards and counted of one shape [groups, group_size], got "
            f"{tuple(rewards.shape)} and {tuple(counted.shape)}"
        )
