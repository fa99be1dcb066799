"""GDPO: several rewards, each normalised in its group before they are added up."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rlreason.algorithms.advantages.batch import reinforce_pp
from rlreason.algorithms.advantages.group import group_normalized
from rlreason.errors import ShapeError


def gdpo(parts: Mapping[str, Tensor], counted: Tensor, weights: Mapping[str, float]) -> Tensor:
    """Group reward-decoupled normalisation (arXiv:2601.05242).

        N_k = (r_k - mean of its group) / (std of its group + 1e-6)     for each part k
        S   = sum over k of weight_k * N_k
        A   = (S - mean of all S) / (std of all S + 1e-6)

    Adding rewards first and normalising then, as GRPO does, gives different pairs of rewards one
    advantage (0 + 1 and 1 + 0), and lets the part with the larger spread decide.

    Args:
        parts: Name -> [groups, group_size] float, values before their weights.
        counted: [groups, group_size] bool, False where the rewards are unknown.
        weights: Name -> weight; the parts that it does not name are ignored.

    Returns:
        [groups, group_size] float64; exactly 0 for a group in which every part is equal.

    Raises:
        ShapeError: If a weighted part is missing or the shapes do not fit together.
    """
    missing = sorted(set(weights) - set(parts))
    if missing or not weights:
        raise ShapeError(f"gdpo: no part {missing} among {sorted(parts)}")
    normalized = [
        weight * group_normalized(parts[name], counted) for name, weight in weights.items()
    ]
    # Every group's sum is 0 in each part, so the mean over all is 0 but for rounding: what is
    # exactly without signal must stay so.
    total = torch.stack(normalized).sum(dim=0)
    return torch.where(total != 0, reinforce_pp(total, counted), 0.0)
