"""Weight by p (1 - p), the variance of a 0/1 reward of pass rate p.

    curriculum: {use: curricula.learnability:Learnability, window: 32, floor: 0.1}

    p_d      = (sum of the last `window` pass rates of pool d + prior / 2) / (their number + prior)
    weight_d = (1 - floor) * p_d (1 - p_d), normalised over the pools, + floor / number of pools

The score of "Learning to Reason at the Frontier of Learnability" (arXiv 2502.12272), there of
single problems, here of pools. An observation is one group's mean reward, scaled to [0, 1] by the
reward's bounds. The prior makes an unseen pool count as half solved: it is looked at first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from curricula.options import STRICT, Floor
from curricula.pool_checks import pool_names, require_known, require_same
from curricula.shares import Floats, by_name, proportional, with_floor
from curricula.signals import pass_rate
from curricula.windows import Windows
from rlreason.types import PoolFacts, ScoredGroup


class LearnabilityConfig(BaseModel):
    """Options of Learnability."""

    model_config = STRICT

    window: int = Field(default=32, ge=1)
    """Groups remembered per pool."""
    prior: float = Field(default=1.0, gt=0)
    """Imaginary groups, half of whose completions pass, that every pool starts with and keeps."""
    floor: Floor = 0.1
    """Share of the draws that is spread equally over all pools."""


class Learnability:
    """Gives more weight to pools of which about half is solved."""

    Config = LearnabilityConfig

    def __init__(self, pools: Mapping[str, PoolFacts], config: LearnabilityConfig) -> None:
        self._names = pool_names(pools)
        self._pools = dict(pools)
        self._config = config
        self._windows = Windows(self._names, config.window)

    def weights(self) -> dict[str, float]:
        """Probability per pool, in the order of the recipe; equal before any observation."""
        rates = self._pass_rates()
        shares = proportional(rates * (1.0 - rates))
        return by_name(self._names, with_floor(shares, self._config.floor))

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Remember the mean reward of every group."""
        require_known(groups, self._pools)
        names = [group.problem.pool for group in groups]
        self._windows.add(
            (name, pass_rate(group, self._pools[name]))
            for name, group in zip(names, groups, strict=True)
        )

    def state_dict(self) -> dict[str, Any]:
        """Windows and counts per pool."""
        return {"pools": self._windows.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, which must be of the same pools."""
        require_same(state["pools"], self._names)
        self._windows.load(state["pools"])

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight, and the pass rate and groups seen behind it."""
        rates, seen = self._pass_rates().tolist(), self._windows.seen.tolist()
        return {
            name: {"weight": weight, "pass_rate": rate, "seen": float(count)}
            for (name, weight), rate, count in zip(self.weights().items(), rates, seen, strict=True)
        }

    def _pass_rates(self) -> Floats:
        held, prior = self._windows.held, self._config.prior
        rates: Floats = (self._windows.means * held + 0.5 * prior) / (held + prior)
        return rates
