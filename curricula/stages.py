"""From easy to hard in stages, each left once its pools are solved.

    curriculum: {use: curricula.stages:Stages, stages: [[add1, add2], [add3]], goal: 0.8}

The pools of the current stage share the draws equally, less ``floor``, which is spread over all
pools: it reviews what was passed and looks ahead. A stage is passed when the pass rate over the
last `window` groups of each of its pools, averaged over these pools, is at least ``goal``. After
the last stage all pools are drawn equally. As in "Curriculum Learning" (Bengio et al., ICML 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from curricula.options import STRICT, Floor
from curricula.pool_checks import pool_names, require_each, require_known, require_same
from curricula.shares import by_name, proportional, with_floor
from curricula.signals import pass_rate
from curricula.windows import Windows
from rlreason.types import PoolFacts, ScoredGroup


class StagesConfig(BaseModel):
    """Options of Stages."""

    model_config = STRICT

    stages: tuple[tuple[str, ...], ...] | None = None
    """Names of the pools of each stage, easy ones first, every pool of the recipe once; null: each
    pool is a stage, in the order of the recipe."""
    goal: float = Field(default=0.8, ge=0, le=1)
    """Pass rate (mean reward, scaled to [0, 1] by the reward's bounds) at which a stage is left."""
    window: int = Field(default=16, ge=1)
    """Groups of each pool that the pass rate is taken from; fewer never pass."""
    patience: int | None = Field(default=None, ge=1)
    """Steps after which a stage is left whatever its pass rate; null: never."""
    floor: Floor = 0.1
    """Share of the draws that is spread equally over all pools."""


class Stages:
    """Gives the weight to the first stage that is not yet solved."""

    Config = StagesConfig

    def __init__(self, pools: Mapping[str, PoolFacts], config: StagesConfig) -> None:
        self._names = pool_names(pools)
        stages = config.stages or tuple((name,) for name in self._names)
        require_each("stages", [name for stage in stages for name in stage], self._names)
        members = [[name in stage for name in self._names] for stage in stages if stage]
        self._members = np.array([*members, [True] * len(self._names)])  # the last: all pools
        self._pools, self._config = dict(pools), config
        self._windows = Windows(self._names, config.window)
        self._stage, self._steps = 0, 0

    def weights(self) -> dict[str, float]:
        """Probability per pool, in the order of the recipe."""
        shares = proportional(self._members[self._stage].astype(np.float64))
        return by_name(self._names, with_floor(shares, self._config.floor))

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Remember the step's pass rates, and go on by at most one stage."""
        require_known(groups, self._pools)
        names = [group.problem.pool for group in groups]
        self._windows.add(
            (name, pass_rate(group, self._pools[name]))
            for name, group in zip(names, groups, strict=True)
        )
        self._steps += 1
        over = self._config.patience is not None and self._steps >= self._config.patience
        if (over or self._solved()) and self._stage < len(self._members) - 1:
            self._stage, self._steps = self._stage + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """The stage, the steps in it, and the windows per pool."""
        return {"stage": self._stage, "steps": self._steps, "pools": self._windows.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, which must be of the same pools."""
        require_same(state["pools"], self._names)
        self._windows.load(state["pools"])
        self._stage, self._steps = min(state["stage"], len(self._members) - 1), state["steps"]

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight and recent pass rate, and the stage that the run is in."""
        rows = zip(self.weights().items(), self._windows.means.tolist(), strict=True)
        return {
            name: {"weight": weight, "pass_rate": rate, "stage": float(self._stage)}
            for (name, weight), rate in rows
        }

    def _solved(self) -> bool:
        stage = self._members[self._stage]
        full = self._windows.seen[stage] >= self._config.window
        return bool(full.all() and self._windows.means[stage].mean() >= self._config.goal)
