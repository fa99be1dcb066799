"""Every pool as often as it has problems: all pools mixed into one shuffled data set.

    curriculum: curricula.proportional:Proportional

With draws without replacement (the default of ``rollout.replacement``) every problem is seen about
equally often. This, and not Uniform, is what DUMP's released code compared itself with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from curricula.options import STRICT
from curricula.pool_checks import pool_names, require_known, require_same
from rlreason.types import PoolFacts, ScoredGroup


class ProportionalConfig(BaseModel):
    """Proportional has no options."""

    model_config = STRICT


class Proportional:
    """Weight pool size / sum of pool sizes for each pool."""

    Config = ProportionalConfig

    # Every curriculum is built as cls(pools, config), so one without options takes it too.
    def __init__(self, pools: Mapping[str, PoolFacts], config: ProportionalConfig) -> None:  # noqa: ARG002
        self._sizes = {name: pools[name].size for name in pool_names(pools)}

    def weights(self) -> dict[str, float]:
        """Each pool's share of all training problems, in the order of the recipe."""
        total = sum(self._sizes.values())
        return {name: size / total for name, size in self._sizes.items()}

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Check the pools of ``groups``; what was scored changes nothing."""
        require_known(groups, self._sizes)

    def state_dict(self) -> dict[str, Any]:
        """The pools, so that a changed recipe is noticed on resume."""
        return {"pools": {name: {} for name in self._sizes}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that ``state`` is of the same pools; sizes are this run's."""
        require_same(state["pools"], self._sizes)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight and its number of training problems."""
        weights = self.weights()
        return {
            name: {"weight": weights[name], "size": float(size)}
            for name, size in self._sizes.items()
        }
