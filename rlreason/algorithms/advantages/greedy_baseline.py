"""ReMax: the greedy completion of the same prompt is the baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from rlreason.algorithms.advantages.group import check_shapes
from rlreason.errors import ShapeError


def remax(rewards: Tensor, counted: Tensor, baseline: Tensor) -> Tensor:
    """``A_i = r_i - r(greedy completion)`` (arXiv:2310.10505).

    Costs one greedy completion for each problem. The completions of a group are not compared with
    each other, so a group whose rewards are all equal still has a signal where the greedy one
    differs. Both the rewards and the baseline shifted by one number change nothing.

    Args:
        rewards: [groups, group_size] float.
        counted: [groups, group_size] bool, False where the reward is unknown.
        baseline: [groups] float, reward of the greedy completion; NaN where it is unknown, which
            makes the group's advantages 0.

    Returns:
        [groups, group_size] float64.

    Raises:
        ShapeError: If the shapes do not fit together.
    """
    check_shapes(rewards, counted)
    if baseline.shape != rewards.shape[:1]:
        raise ShapeError(
            f"remax needs one baseline for each group: {tuple(baseline.shape)} for rewards "
            f"{tuple(rewards.shape)}"
        )
    known = counted & ~baseline.isnan()[:, None]
    return torch.where(known, rewards.double() - baseline.double()[:, None], 0.0)
