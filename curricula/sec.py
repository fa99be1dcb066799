"""Self-evolving curriculum: TD(0) value and Boltzmann choice (SEC, arXiv 2505.14970).

    curriculum: {use: curricula.sec:Sec, rate: 0.5, temperature: 0.2}

    value_d  = value_d + rate * (mean |advantage| of the step's rollouts of pool d - value_d)
    weight_d = (1 - floor) * softmax(value / temperature)_d + floor / number of pools

Only pools that a step drew are updated; values start at 0. DUMP's signal with one number per pool
in place of a window, and nothing that draws towards unseen pools but the temperature. The paper
tunes rate and temperature to each task; these defaults are ours, and so is the floor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from curricula.options import STRICT, Floor
from curricula.pool_checks import pool_names, require_known, require_same
from curricula.shares import by_name, softmax, with_floor
from curricula.signals import absolute_advantages, mean
from rlreason.types import PoolFacts, ScoredGroup


class SecConfig(BaseModel):
    """Options of Sec."""

    model_config = STRICT

    rate: float = Field(default=0.5, gt=0, le=1)
    """How far a step moves a value towards what it saw; 1 remembers the last step alone."""
    temperature: float = Field(default=0.2, gt=0)
    """Of the softmax over values."""
    floor: Floor = 0.0
    """Share of the draws that is spread equally over all pools."""


class Sec:
    """Gives more weight to pools whose completions differed in reward when last drawn."""

    Config = SecConfig

    def __init__(self, pools: Mapping[str, PoolFacts], config: SecConfig) -> None:
        self._values = dict.fromkeys(pool_names(pools), 0.0)
        self._config = config

    def weights(self) -> dict[str, float]:
        """Probability per pool, in the order of the recipe; equal before any observation."""
        shares = softmax(np.array(list(self._values.values())), self._config.temperature)
        return by_name(tuple(self._values), with_floor(shares, self._config.floor))

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Move the value of every pool of the step towards its mean |advantage|."""
        require_known(groups, self._values)
        seen: dict[str, list[float]] = defaultdict(list)
        for group in groups:
            seen[group.problem.pool].extend(absolute_advantages(group))
        for name, values in seen.items():
            if values:
                self._values[name] += self._config.rate * (mean(values) - self._values[name])

    def state_dict(self) -> dict[str, Any]:
        """Pool -> value."""
        return {"pools": dict(self._values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, which must be of the same pools."""
        require_same(state["pools"], self._values)
        self._values = {name: state["pools"][name] for name in self._values}

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight and the value behind it."""
        return {
            name: {"weight": weight, "value": self._values[name]}
            for name, weight in self.weights().items()
        }
