"""The pass rate of every pool over the first rollouts that a run scores of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curricula.pool_arrays import restored, saved
from curricula.pool_checks import require_known_names
from curricula.shares import Floats
from curricula.signals import scaled_rewards
from rlreason.types import PoolFacts, ScoredGroup


class Probe:
    """Takes ``size`` rollouts of each pool, less those whose pass rate is ``known``.

    Raises:
        ValueError: If ``known`` names other pools, or a rate outside [0, 1].
    """

    def __init__(
        self, pools: Mapping[str, PoolFacts], size: int, known: Mapping[str, float]
    ) -> None:
        require_known_names("pass_rates", known, pools)
        wrong = [name for name, rate in known.items() if not 0 <= rate <= 1]
        if wrong:
            raise ValueError(f"option pass_rates of {wrong} is outside [0, 1]")
        self._pools = dict(pools)
        self._index = {name: position for position, name in enumerate(pools)}
        self._known = np.array([known.get(name, math.nan) for name in pools])
        self._size = size
        self._taken = np.zeros((2, len(pools)))  # sum of scaled rewards, rollouts

    @property
    def missing(self) -> Floats:
        """[pools] rollouts that are still to come."""
        missing = np.maximum(self._size - self._taken[1], 0.0)
        return np.where(np.isnan(self._known), missing, 0.0)

    def rates(self) -> Floats:
        """[pools] known or measured pass rate; 0 for a pool of which nothing is known."""
        measured = self._taken[0] / np.maximum(self._taken[1], 1.0)
        return np.where(np.isnan(self._known), measured, self._known)

    def take(self, groups: Sequence[ScoredGroup]) -> None:
        """Take as many rollouts of each pool as are missing, in order."""
        missing = self.missing
        for group in groups:
            place = self._index[group.problem.pool]
            rewards = scaled_rewards(group, self._pools[group.problem.pool])
            rewards = rewards[: int(missing[place])]
            missing[place] -= len(rewards)
            self._taken[:, place] += (math.fsum(rewards), len(rewards))

    def state(self) -> dict[str, Any]:
        """Pool -> sum of rewards and rollouts."""
        return saved(self._taken, tuple(self._pools))

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, which must be of the same pools."""
        self._taken = restored(state, tuple(self._pools))
