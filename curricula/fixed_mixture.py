"""The shares that the recipe states, whatever happens.

    curriculum: {use: curricula.fixed_mixture:FixedMixture, weights: {add3: 3, add4: 1}}

What most frameworks call dataset mixing (TRL's fractions, prime-rl's ratios). Shares need not sum
to 1; a pool with share 0 is evaluated and never drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field

from curricula.options import STRICT
from curricula.pool_checks import pool_names, require_each, require_known, require_same
from curricula.shares import by_name, proportional
from rlreason.types import PoolFacts, ScoredGroup


class FixedMixtureConfig(BaseModel):
    """Options of FixedMixture."""

    model_config = STRICT

    weights: dict[str, Annotated[float, Field(ge=0)]]
    """Pool -> its share of the draws, in any unit. Every pool of the recipe must be named."""


class FixedMixture:
    """Weight share / sum of shares for each pool."""

    Config = FixedMixtureConfig

    def __init__(self, pools: Mapping[str, PoolFacts], config: FixedMixtureConfig) -> None:
        names = pool_names(pools)
        require_each("weights", config.weights, names)
        if not any(config.weights.values()):
            raise ValueError("option weights is 0 for every pool; give at least one a share")
        shares = np.array([config.weights[name] for name in names])
        self._weights = by_name(names, proportional(shares / shares.max()))

    def weights(self) -> dict[str, float]:
        """The stated shares, in the order of the recipe."""
        return dict(self._weights)

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Check the pools of ``groups``; what was scored changes nothing."""
        require_known(groups, self._weights)

    def state_dict(self) -> dict[str, Any]:
        """The pools, so that a changed recipe is noticed on resume."""
        return {"pools": {name: {} for name in self._weights}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that ``state`` is of the same pools; the shares are this run's."""
        require_same(state["pools"], self._weights)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight."""
        return {name: {"weight": weight} for name, weight in self._weights.items()}
