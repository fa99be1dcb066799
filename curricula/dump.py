"""Upper-confidence-bound curriculum over pools (DUMP, arXiv 2504.09710).

    curriculum: {use: curricula.dump:Dump, setting: robust, temperature: 0.2}

    learnability_d = mean of the last `window` observations of pool d, 0 without any
    bonus_d        = exploration * sqrt(2 * ln(N + 1) / (n_d + 1))
    softmax_d      = exp((learnability_d + bonus_d) / temperature), normalised over the pools
    weight_d       = (1 - floor) * softmax_d + floor / number of pools

``n_d`` counts the observations of pool d ever made and ``N`` sums them. An observation is large
where the completions of a problem still differ in reward: neither solved nor hopeless.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from curricula.options import STRICT, Floor
from curricula.pool_checks import pool_names, require_known, require_same
from curricula.shares import Floats, by_name, softmax, with_floor
from curricula.signals import absolute_advantages, mean, spreads
from curricula.windows import Windows
from rlreason.errors import CheckpointError
from rlreason.types import PoolFacts, ScoredGroup

SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # The released code's numbers are the defaults of DumpConfig.
        "paper": {},
        # Prompts and spreads mean the same for any group size and advantage. 0.35 is the bonus that
        # counting rollouts gives at a group size of 8 (1 / sqrt(8)).
        "robust": {
            "statistic": "reward_spread",
            "count_unit": "prompt",
            "window": 64,
            "exploration": 0.35,
            "floor": 0.1,
        },
    }
)
"""What a named setting gives to the options that a recipe does not state. Its numbers never change,
or a run that is resumed after an upgrade would be another run: a better one gets a new name."""


class DumpConfig(BaseModel):
    """Options of Dump. The defaults are the paper's constants and its released code's units."""

    model_config = STRICT

    setting: Literal["paper", "robust"] = "paper"
    """Defaults of the options below. ``paper``: the released code's; with it set
    ``rollout.replacement: true``, as that code draws inside a pool. ``robust``: units that mean the
    same for any group size and advantage, a short window, a floor."""
    statistic: Literal["absolute_advantage", "reward_spread"] = "absolute_advantage"
    """What is observed of a rollout: its |advantage|, whose size depends on ``algorithm.advantage``
    and on the group size, or how far its reward is from the others' of its group, in [0, 1] on
    average for any reward and group size (``signals.spreads``)."""
    window: int = Field(default=300, ge=1)
    """Observations remembered per pool; lowering it on resume keeps the newest."""
    temperature: float = Field(default=0.1, ge=0)
    """Softmax temperature; 0 gives all weight to the best pools, shared equally among ties."""
    exploration: float = Field(default=1.0, ge=0)
    """Weight of the bonus for rarely seen pools; 0 is pure exploitation."""
    count_unit: Literal["rollout", "prompt"] = "rollout"
    """What one observation is: a rollout's statistic, or its mean over a group. With ``prompt`` the
    window reaches group_size times further back and the bonus is larger."""
    floor: Floor = 0.0
    """Share of the draws that is spread equally over all pools: every pool keeps a weight of at
    least floor / number of pools. 1 is Uniform."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_setting(cls, given: Any) -> Any:
        return {**SETTINGS.get(str(given.get("setting")), {}), **given}


class Dump:
    """Gives more weight to pools that the policy is still learning from."""

    Config = DumpConfig

    def __init__(self, pools: Mapping[str, PoolFacts], config: DumpConfig) -> None:
        self._names = pool_names(pools)
        self._pools = dict(pools)
        self._config = config
        self._windows = Windows(self._names, config.window)

    def weights(self) -> dict[str, float]:
        """Probability per pool, in the order of the recipe; equal before any observation."""
        scores = self._windows.means + self._bonus()
        shares = softmax(scores, self._config.temperature)
        return by_name(self._names, with_floor(shares, self._config.floor))

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Remember a step's statistics, save those that an infra fault hides.

        Raises:
            KeyError: If a group is of an unknown pool; nothing is then remembered.
        """
        require_known(groups, self._pools)
        self._windows.add((group.problem.pool, self._observations(group)) for group in groups)

    def state_dict(self) -> dict[str, Any]:
        """Windows and counts per pool, and what they are of."""
        return {**self._units(), "pools": self._windows.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            CheckpointError: If it is of other pools, or of observations of another kind.
        """
        require_same(state["pools"], self._names)
        for option, value in self._units().items():
            if state[option] != value:
                raise CheckpointError(
                    f"curriculum: {option} = {value!r}, but the saved observations are in units of "
                    f"{state[option]!r}; restore it in the recipe, or start anew with --fresh"
                )
        self._windows.load(state["pools"])

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight, and the learnability, bonus and number seen behind it."""
        terms = zip(
            self.weights().items(),
            self._windows.means.tolist(),
            self._bonus().tolist(),
            self._windows.seen.tolist(),
            strict=True,
        )
        return {
            name: {"weight": weight, "learnability": value, "bonus": bonus, "seen": float(seen)}
            for (name, weight), value, bonus, seen in terms
        }

    def _units(self) -> dict[str, str]:
        return {"statistic": self._config.statistic, "count_unit": self._config.count_unit}

    def _observations(self, group: ScoredGroup) -> list[float]:
        """What one group adds to its pool's window: nothing if every rollout is masked."""
        if self._config.statistic == "reward_spread":
            values = spreads(group, self._pools[group.problem.pool])
        else:
            values = absolute_advantages(group)
        return [mean(values)] if self._config.count_unit == "prompt" and values else values

    def _bonus(self) -> Floats:
        """[pools] exploration term of the score."""
        seen = self._windows.seen
        root: Floats = np.sqrt(2.0 * math.log(int(seen.sum()) + 1) / (seen + 1))
        return self._config.exploration * root
