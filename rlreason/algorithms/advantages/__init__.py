"""Advantages: how much better a completion did; ``algorithm.advantage`` names one.

Each is a function of tensors in a file of its concept; the table gives it what it reads.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from rlreason.algorithms.advantages.acceptance import accepted, best_of_group
from rlreason.algorithms.advantages.batch import (
    batch_normalized,
    reinforce_pp,
    reinforce_pp_baseline,
)
from rlreason.algorithms.advantages.greedy_baseline import remax
from rlreason.algorithms.advantages.group import centered, group_normalized, leave_one_out
from rlreason.algorithms.advantages.reward_parts import gdpo
from rlreason.algorithms.advantages.reward_table import RewardTable, reward_table
from rlreason.config import AlgorithmSection
from rlreason.errors import ShapeError

__all__ = [
    "ADVANTAGES",
    "accepted",
    "batch_normalized",
    "best_of_group",
    "centered",
    "gdpo",
    "group_normalized",
    "leave_one_out",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "remax",
    "reward_table",
]


def _remax(table: RewardTable, _: AlgorithmSection) -> Tensor:
    if table.baseline is None:
        raise ShapeError("remax needs the reward of each group's greedy completion as baseline")
    return remax(table.rewards, table.counted, table.baseline)


ADVANTAGES: dict[str, Callable[[RewardTable, AlgorithmSection], Tensor]] = {
    "group_normalized": lambda table, _: group_normalized(table.rewards, table.counted),
    "centered": lambda table, _: centered(table.rewards, table.counted),
    "leave_one_out": lambda table, _: leave_one_out(table.rewards, table.counted),
    "batch_normalized": lambda table, _: batch_normalized(table.rewards, table.counted),
    "reinforce_pp": lambda table, _: reinforce_pp(table.rewards, table.counted),
    "reinforce_pp_baseline": lambda table, _: reinforce_pp_baseline(table.rewards, table.counted),
    "remax": _remax,
    "gdpo": lambda table, options: gdpo(table.parts, table.counted, options.part_weights),
    "accepted": lambda table, options: accepted(table.rewards, table.counted, options.accept_from),
    "best_of_group": lambda table, options: best_of_group(
        table.rewards, table.counted, options.accept_from
    ),
}
"""What ``algorithm.advantage`` may name: (table, options) -> [groups, group_size]."""
