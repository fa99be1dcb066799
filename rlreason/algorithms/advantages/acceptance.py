"""Weights of 1 or 0 for learning by imitation from the policy's own completions.

They are meant for ``loss: likelihood``, which averages over what was accepted alone. Unlike an
advantage they do not compare: a group that is accepted whole has as much to imitate as any. A
curriculum that reads advantages (DUMP) would take such a group for one to learn from; use one that
reads rewards or a fixed one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlreason.algorithms.advantages.group import check_shapes


def accepted(rewards: Tensor, counted: Tensor, threshold: float) -> Tensor:
    """1 where ``r_i >= threshold``: rejection-sampling fine-tuning (arXiv:2308.01825).

    Args:
        rewards: [groups, group_size] float.
        counted: [groups, group_size] bool, False where the reward is unknown.
        threshold: Lowest reward that is accepted.

    Returns:
        [groups, group_size] float64, 0 or 1.

    Raises:
        ShapeError: If the two differ in shape or are not [groups, group_size].
    """
    check_shapes(rewards, counted)
    return (counted & (rewards >= threshold)).double()


def best_of_group(rewards: Tensor, counted: Tensor, threshold: float) -> Tensor:
    """1 at the best completion of each group, the first of equals: RAFT (arXiv:2304.06767).

    Args:
        rewards: [groups, group_size] float.
        counted: [groups, group_size] bool, False where the reward is unknown.
        threshold: A best that is below is not accepted: there is nothing to imitate in it.

    Returns:
        [groups, group_size] float64, 0 or 1.

    Raises:
        ShapeError: If the two differ in shape or are not [groups, group_size].
    """
    candidates = accepted(rewards, counted, threshold).bool()
    best = torch.where(candidates, rewards.double(), -torch.inf).argmax(dim=1, keepdim=True)
    first = torch.zeros_like(candidates).scatter(1, best, True)
    return (first & candidates).double()
