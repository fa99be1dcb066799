"""Thompson sampling with discount: a pool's weight is its chance to be the most learnable one.

    curriculum: {use: curricula.thompson:Thompson, discount: 0.95}

After each step, with e the evidence of a group (its reward spread, at most 1):

    hits_d   = discount * hits_d   + sum of e over the step's groups of pool d
    misses_d = discount * misses_d + sum of 1 - e
    weight_d = P(X_d > every other X)       X_d ~ Beta(1 + hits_d, 1 + misses_d), independent

The discount is discounted Thompson sampling's (arXiv 1707.09727): what is old fades back to the
flat prior, so a pool that was left alone is tried again. A curriculum has no random numbers: the
probability is computed, with the normal distribution of each Beta's mean and deviation in its
place (off by at most 0.05 in the tests), and the draws of the pools by it are the sampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from curricula.options import STRICT, Floor
from curricula.pool_arrays import restored, saved
from curricula.pool_checks import pool_names, require_known
from curricula.shares import Floats, by_name, chance_to_be_best, proportional, with_floor
from curricula.signals import mean, spreads
from rlreason.types import PoolFacts, ScoredGroup


class ThompsonConfig(BaseModel):
    """Options of Thompson."""

    model_config = STRICT

    discount: float = Field(default=0.95, ge=0, le=1)
    """What a step leaves of all evidence before it; 1 forgets nothing."""
    floor: Floor = 0.0
    """Share of the draws that is spread equally over all pools."""


class Thompson:
    """Gives a pool the probability that its completions differ most in reward."""

    Config = ThompsonConfig

    def __init__(self, pools: Mapping[str, PoolFacts], config: ThompsonConfig) -> None:
        self._names = pool_names(pools)
        self._pools = dict(pools)
        self._index = {name: position for position, name in enumerate(self._names)}
        self._config = config
        self._evidence = np.zeros((2, len(self._names)))  # hits, misses

    def weights(self) -> dict[str, float]:
        """Probability per pool, in the order of the recipe; equal before any observation."""
        shares = proportional(chance_to_be_best(*self._beliefs()))
        return by_name(self._names, with_floor(shares, self._config.floor))

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Let all evidence fade by one step, then add this step's."""
        require_known(groups, self._pools)
        self._evidence *= self._config.discount
        for group in groups:
            values = spreads(group, self._pools[group.problem.pool])
            if values:
                hit = min(mean(values), 1.0)
                self._evidence[:, self._index[group.problem.pool]] += (hit, 1.0 - hit)

    def state_dict(self) -> dict[str, Any]:
        """Hits and misses per pool."""
        return {"pools": saved(self._evidence, self._names)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, which must be of the same pools."""
        self._evidence = restored(state["pools"], self._names)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight, and the mean and deviation of what is believed of it."""
        means, deviations = (values.tolist() for values in self._beliefs())
        rows = zip(self.weights().items(), means, deviations, strict=True)
        return {
            name: {"weight": weight, "learnability": value, "deviation": deviation}
            for (name, weight), value, deviation in rows
        }

    def _beliefs(self) -> tuple[Floats, Floats]:
        """([pools] mean, [pools] deviation) of the Beta distributions."""
        hits, misses = 1.0 + self._evidence
        means = hits / (hits + misses)
        return means, np.sqrt(means * (1.0 - means) / (hits + misses + 1.0))
