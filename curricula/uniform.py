"""Every pool equally often, whatever happens: the baseline that needs no assumption.

    curriculum: curricula.uniform:Uniform

A small pool's problems are repeated more often than a large pool's; see ``proportional`` for the
opposite choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from curricula.options import STRICT
from curricula.pool_checks import pool_names, require_known, require_same
from rlreason.types import PoolFacts, ScoredGroup


class UniformConfig(BaseModel):
    """Uniform has no options."""

    model_config = STRICT


class Uniform:
    """Weight 1 / number of pools for each pool."""

    Config = UniformConfig

    # Every curriculum is built as cls(pools, config), so one without options takes it too.
    def __init__(self, pools: Mapping[str, PoolFacts], config: UniformConfig) -> None:  # noqa: ARG002
        names = pool_names(pools)
        self._weights = dict.fromkeys(names, 1.0 / len(names))

    def weights(self) -> dict[str, float]:
        """The same probability for every pool, in the order of the recipe."""
        return dict(self._weights)

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Check the pools of ``groups``; what was scored changes nothing."""
        require_known(groups, self._weights)

    def state_dict(self) -> dict[str, Any]:
        """The pools, so that a changed recipe is noticed on resume."""
        return {"pools": {name: {} for name in self._weights}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that ``state`` is of the same pools."""
        require_same(state["pools"], self._weights)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight."""
        return {name: {"weight": weight} for name, weight in self._weights.items()}
