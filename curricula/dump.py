"""Upper-confidence-bound curriculum over pools (DUMP, arXiv 2504.09710).

    curriculum: {use: curricula.dump:Dump, window: 300, temperature: 0.1}

    learnability_d = mean |advantage| of the last `window` observations of pool d, 0 without any
    bonus_d        = exploration * sqrt(2 * ln(N + 1) / (n_d + 1))
    softmax_d      = exp((learnability_d + bonus_d) / temperature), normalised over the pools
    weight_d       = (1 - floor) * softmax_d + floor / number of pools

``n_d`` counts the observations of pool d ever made and ``N`` sums them. A large mean |advantage|
means that the completions of a problem still differ in reward: neither solved nor hopeless.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from curricula.pool_checks import pool_names, require_known, require_same
from rlreason.errors import CheckpointError
from rlreason.types import ScoredGroup


class DumpConfig(BaseModel):
    """Options of Dump. The defaults are the paper's constants and its released code's unit."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    window: int = Field(default=300, ge=1)
    """Observations remembered per pool; lowering it on resume keeps the newest."""
    temperature: float = Field(default=0.1, ge=0)
    """Softmax temperature; 0 gives all weight to the best pools, shared equally among ties."""
    exploration: float = Field(default=1.0, ge=0)
    """Weight of the bonus for rarely seen pools; 0 is pure exploitation."""
    count_unit: Literal["rollout", "prompt"] = "rollout"
    """What one observation is: a rollout's |advantage|, or a group's mean |advantage|. With
    ``prompt`` the window reaches group_size times further back and the bonus is larger."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Share of the draws that is spread equally over all pools: every pool keeps a weight of at
    least floor / number of pools. 1 is Uniform."""


class Dump:
    """Gives more weight to pools that the policy is still learning from."""

    Config = DumpConfig

    def __init__(self, pool_sizes: Mapping[str, int], config: DumpConfig) -> None:
        self._names = pool_names(pool_sizes)
        self._config = config
        self._index = {name: index for index, name in enumerate(self._names)}
        self._recent = [deque[float](maxlen=config.window) for _ in self._names]
        self._num_seen = np.zeros(len(self._names), dtype=np.int64)
        # Always recomputed from a pool's whole window, never carried forward as a running sum:
        # it is then a function of the saved state, to the bit.
        self._learnability = np.zeros(len(self._names))

    def weights(self) -> dict[str, float]:
        """Probability per pool, in the order of the recipe; equal before any observation."""
        floor = self._config.floor
        shares = _softmax(self._learnability + self._bonus(), self._config.temperature)
        mixed = (1.0 - floor) * shares + floor / len(self._names)
        return dict(zip(self._names, mixed.tolist(), strict=True))

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Remember a step's |advantages|, save those that an infra fault hides.

        Raises:
            KeyError: If a group is of an unknown pool; nothing is then remembered.
        """
        require_known(groups, self._index)
        touched = set()
        for group in groups:
            index = self._index[group.problem.pool]
            observations = self._observations(group)
            self._recent[index].extend(observations)
            self._num_seen[index] += len(observations)
            touched.add(index)
        for index in touched:
            self._learnability[index] = _mean(self._recent[index])

    def state_dict(self) -> dict[str, Any]:
        """Windows and counts per pool; JSON keeps each float to the bit."""
        return {
            "count_unit": self._config.count_unit,
            "recent": {name: list(self._recent[index]) for name, index in self._index.items()},
            "num_seen": dict(zip(self._names, self._num_seen.tolist(), strict=True)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            CheckpointError: If it is of other pools, or counts in the other unit.
        """
        require_same(state["recent"], self._names)
        if state["count_unit"] != self._config.count_unit:
            raise CheckpointError(
                f"curriculum: count_unit = {self._config.count_unit!r}, but the saved state "
                f"counts in units of {state['count_unit']!r}; restore it in the recipe, or start "
                "anew with --fresh"
            )
        for name, index in self._index.items():
            self._recent[index] = deque(state["recent"][name], maxlen=self._config.window)
            self._num_seen[index] = state["num_seen"][name]
            self._learnability[index] = _mean(self._recent[index])

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight, and the learnability, bonus and number seen behind it."""
        terms = zip(
            self.weights().items(),
            self._learnability.tolist(),
            self._bonus().tolist(),
            self._num_seen.tolist(),
            strict=True,
        )
        return {
            name: {"weight": weight, "learnability": mean, "bonus": bonus, "seen": float(seen)}
            for (name, weight), mean, bonus, seen in terms
        }

    def _observations(self, group: ScoredGroup) -> list[float]:
        """What one group adds to its pool's window: nothing if every rollout is masked."""
        values = [
            abs(advantage)
            for advantage, counted in zip(group.advantages, group.counted, strict=True)
            if counted
        ]
        if self._config.count_unit == "prompt" and values:
            return [_mean(values)]
        return values

    def _bonus(self) -> NDArray[np.float64]:
        """[pools] exploration term of the score."""
        total = int(self._num_seen.sum())
        root: NDArray[np.float64] = np.sqrt(2.0 * math.log(total + 1) / (self._num_seen + 1))
        return self._config.exploration * root


def _mean(values: Sequence[float] | deque[float]) -> float:
    """Mean, 0 of nothing; fsum rounds once, so the order of the values does not matter."""
    return math.fsum(values) / len(values) if values else 0.0


def _softmax(scores: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """[pools] softmax of scores / temperature; at 0 its limit, ties shared equally."""
    gaps = scores - scores.max()
    if temperature == 0.0:
        shares = (gaps == 0.0).astype(np.float64)
    else:
        with np.errstate(over="ignore"):  # a tiny temperature: exp(-inf) = 0 is what is meant
            shares = np.exp(gaps / temperature)
    return shares / math.fsum(shares.tolist())
