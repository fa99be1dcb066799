"""Advantages whose scale, and for one of them the baseline, comes from the whole step.

A group's own standard deviation makes nearly solved and nearly hopeless problems loud; the step's
keeps the differences between problems. A step is everything sampled in it, so these numbers do
not depend on how it is divided into updates, micro-batches or ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlreason.algorithms.advantages.group import EPSILON, centered, check_shapes


def batch_normalized(rewards: Tensor, counted: Tensor) -> Tensor:
    """``A_i = (r_i - mean of its group) / (std of all rewards + 1e-6)`` (arXiv:2508.08221).

    Args:
        rewards: [groups, group_size] float.
        counted: [groups, group_size] bool, False where the reward is unknown.

    Returns:
        [groups, group_size] float64; exactly 0 where all counted rewards of the group are equal.

    Raises:
        ShapeError: If the two differ in shape or are not [groups, group_size].
    """
    deviation = centered(rewards, counted)
    return deviation / (_std(rewards.double(), counted) + EPSILON)


def reinforce_pp(rewards: Tensor, counted: Tensor) -> Tensor:
    """``A_i = (r_i - mean of all) / (std of all + 1e-6)``, REINFORCE++ (arXiv:2501.03262).

    No group is needed: every completion is compared with all of the step. So a group whose
    rewards are all equal has advantages other than 0, and easy problems push all their
    completions up. A KL penalty belongs into the rewards before this, not here.

    Args:
        rewards: [groups, group_size] float.
        counted: [groups, group_size] bool, False where the reward is unknown.

    Returns:
        [groups, group_size] float64; exactly 0 where all counted rewards of the step are equal.

    Raises:
        ShapeError: If the two differ in shape or are not [groups, group_size].
    """
    check_shapes(rewards, counted)
    everything = centered(rewards.reshape(1, -1), counted.reshape(1, -1)).reshape(rewards.shape)
    return everything / (_std(everything, counted) + EPSILON)


def reinforce_pp_baseline(rewards: Tensor, counted: Tensor) -> Tensor:
    """``d_i = r_i - mean of its group; A_i = d_i / (std of all d + 1e-6)`` (arXiv:2501.03262).

    REINFORCE++ with the group's mean as its baseline. Differs from ``batch_normalized`` in what
    the standard deviation is of: deviations from the group, which leave out the differences
    between problems.

    Args:
        rewards: [groups, group_size] float.
        counted: [groups, group_size] bool, False where the reward is unknown.

    Returns:
        [groups, group_size] float64; exactly 0 where all counted rewards of the group are equal.

    Raises:
        ShapeError: If the two differ in shape or are not [groups, group_size].
    """
    deviation = centered(rewards, counted)
    return deviation / (_std(deviation, counted) + EPSILON)


def _std(values: Tensor, counted: Tensor) -> Tensor:
    """[] sample standard deviation (ddof 1) of the counted values; 0 where fewer than two are."""
    kept = values[counted]
    return kept.std() if len(kept) > 1 else torch.zeros((), dtype=values.dtype)
