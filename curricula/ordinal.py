"""Ranks in order, each for a fixed number of steps.

    curriculum: {use: curricula.ordinal:OrdinalSchedule, ranks: {one: 1, two: 2}}

MaskSearch (arXiv 2505.20285) trains on questions with one masked span first and with four last. The
rank of a pool is any such number that says how hard it is by construction: masks, digits, hops,
people in a puzzle. Nothing that happens changes the schedule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from curricula.options import STRICT, Floor
from curricula.pool_checks import pool_names, require_each, require_known, require_same
from curricula.shares import by_name, proportional, with_floor
from rlreason.types import PoolFacts, ScoredGroup


class OrdinalScheduleConfig(BaseModel):
    """Options of OrdinalSchedule."""

    model_config = STRICT

    ranks: dict[str, int] | None = None
    """Pool -> rank, every pool of the recipe; lower ranks come first, gaps mean nothing. Null: the
    order of the recipe."""
    steps_per_rank: int = Field(default=25, ge=1)
    """Steps for each rank; the last one goes on to the end."""
    cumulative: bool = False
    """Keep the pools of the ranks before, each pool as often as those of the current rank."""
    floor: Floor = 0.0
    """Share of the draws that is spread equally over all pools."""


class OrdinalSchedule:
    """Gives the weight to one rank after the other."""

    Config = OrdinalScheduleConfig

    def __init__(self, pools: Mapping[str, PoolFacts], config: OrdinalScheduleConfig) -> None:
        self._names = pool_names(pools)
        if config.ranks is not None:
            require_each("ranks", config.ranks, self._names)
        ranks = config.ranks or {name: rank for rank, name in enumerate(self._names)}
        order = sorted(set(ranks.values()))
        self._levels = np.array([order.index(ranks[name]) for name in self._names])
        self._config = config
        self._pools = dict(pools)
        self._steps = 0

    def weights(self) -> dict[str, float]:
        """Probability per pool, in the order of the recipe."""
        now = self._level()
        drawn = self._levels <= now if self._config.cumulative else self._levels == now
        shares = proportional(drawn.astype(np.float64))
        return by_name(self._names, with_floor(shares, self._config.floor))

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Count the step; what was scored changes nothing."""
        require_known(groups, self._pools)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Steps so far."""
        return {"steps": self._steps, "pools": {name: {} for name in self._names}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, which must be of the same pools."""
        require_same(state["pools"], self._names)
        self._steps = state["steps"]

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight, its place in the order of ranks, and the place that the run is at."""
        now = float(self._level())
        rows = zip(self.weights().items(), self._levels.tolist(), strict=True)
        return {
            name: {"weight": weight, "level": float(level), "current_level": now}
            for (name, weight), level in rows
        }

    def _level(self) -> int:
        return min(self._steps // self._config.steps_per_rank, int(self._levels.max()))
