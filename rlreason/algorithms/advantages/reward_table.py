"""The rewards of a step as tensors: all that an advantage may look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.errors import DataError
from rlreason.types import RolloutGroup, Score


class RewardTable(NamedTuple):
    """Rewards of the groups of one step, in their order."""

    rewards: Tensor
    """[groups, group_size] float64."""
    counted: Tensor
    """[groups, group_size] bool, False where an ``infra`` fault hides the reward."""
    parts: Mapping[str, Tensor]
    """Name -> [groups, group_size] float64, the parts that the advantage asked for."""
    baseline: Tensor | None = None
    """[groups] float64, reward of the greedy completion (ReMax); NaN where it is unknown."""


def reward_table(
    pairs: Sequence[tuple[RolloutGroup, tuple[Score, ...]]],
    *,
    parts: Sequence[str] = (),
    costs: Sequence[Sequence[float]] | None = None,
    baseline: Sequence[float] | None = None,
) -> RewardTable:
    """Scores as tensors.

    A completion that has no parts because scoring it failed by its own fault (a timeout, a crash)
    takes the lowest value that the part has in its group: no better than the worst of the others.

    Args:
        pairs: Groups with their scores, all of one size.
        parts: Names of the parts of ``Score.parts`` to read.
        costs: [groups, group_size] what is subtracted from the rewards (a KL penalty).
        baseline: Reward of each group's greedy completion.

    Raises:
        DataError: If a completion was scored in full and yet lacks one of ``parts``.
    """
    rewards = torch.tensor([[s.value for s in scores] for _, scores in pairs], dtype=torch.float64)
    if costs is not None:
        rewards = rewards - torch.tensor(costs, dtype=torch.float64)
    counted = torch.tensor([[s.outcome != "infra" for s in scores] for _, scores in pairs])
    return RewardTable(
        rewards=rewards,
        counted=counted,
        parts={name: _part(pairs, name) for name in parts},
        baseline=None if baseline is None else torch.tensor(baseline, dtype=torch.float64),
    )


def _part(pairs: Sequence[tuple[RolloutGroup, tuple[Score, ...]]], name: str) -> Tensor:
    rows = []
    for group, scores in pairs:
        for score in scores:
            if score.outcome == "ok" and name not in score.parts:
                raise DataError(
                    f"problem {group.problem.key}: its score has no part {name!r}, only "
                    f"{sorted(score.parts)}; algorithm.part_weights names the parts that "
                    "every pool's reward reports (rewards.weighted_sum:WeightedSum reports its own)"
                )
        known = [s.parts[name] for s in scores if name in s.parts and s.outcome != "infra"]
        lowest = min(known, default=0.0)
        rows.append([s.parts.get(name, lowest) for s in scores])
    return torch.tensor(rows, dtype=torch.float64)
