"""Difficulty labels from a pass-rate probe of the starting model, mixed by stages.

    curriculum: {use: curricula.difficulty:Difficulty, probe: 20, pass_rates: {add1: 1.0}}

UR2 (arXiv 2508.06165) labels by the pass rate over 20 rollouts of the starting model and trains on
7:2:1 of hard, medium and easy. Here pools are labelled, each by its first `probe` rollouts: until
all have theirs, those that lack some share the draws. The policy learns meanwhile; to avoid it
state ``pass_rates``. The thresholds are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, Field

from curricula.options import STRICT, Floor
from curricula.pool_checks import pool_names, require_known
from curricula.probe import Probe
from curricula.shares import by_name, proportional, with_floor
from rlreason.types import PoolFacts, ScoredGroup

Label = Literal["very_hard", "hard", "medium", "easy"]


class Stage(BaseModel):
    """Label -> share of the draws, in any unit. Labels without pools are left out, or all equal."""

    model_config = STRICT
    steps: int = Field(default=1, ge=1)
    shares: dict[Label, Annotated[float, Field(ge=0)]]


UR2_MIXTURE = Stage(shares={"hard": 7, "medium": 2, "easy": 1})


class DifficultyConfig(BaseModel):
    """Options of Difficulty."""

    model_config = STRICT
    probe: int = Field(default=20, ge=1)
    """Rollouts that label a pool."""
    pass_rates: dict[str, float] = {}
    """Pool -> pass rate in [0, 1] that is known already; it is not probed."""
    thresholds: tuple[float, float, float] = (0.05, 0.4, 0.75)
    """Lowest pass rate of ``hard``, ``medium`` and ``easy``; below all is ``very_hard``."""
    stages: tuple[Stage, ...] = Field(default=(UR2_MIXTURE,), min_length=1)
    """Counted from the end of the probe; the last stage goes on to the end of the run."""
    floor: Floor = 0.0
    """Share of the draws that is spread equally over all pools."""


class Difficulty:
    """Labels pools once, and mixes the labels as the recipe says."""

    Config = DifficultyConfig

    def __init__(self, pools: Mapping[str, PoolFacts], config: DifficultyConfig) -> None:
        self._names, self._probe = pool_names(pools), Probe(pools, config.probe, config.pass_rates)
        self._pools, self._config, self._steps = dict(pools), config, 0

    def weights(self) -> dict[str, float]:
        """Probability per pool, in the order of the recipe."""
        shares = (self._probe.missing > 0).astype(np.float64)
        if not shares.any():
            labels = self._labels()
            ends = np.cumsum([stage.steps for stage in self._config.stages[:-1]])
            stage = self._config.stages[int((self._steps >= ends).sum())]
            mixture = np.array([stage.shares.get(label, 0.0) for label in get_args(Label)])
            shares = (mixture / np.bincount(labels, minlength=4).clip(min=1))[labels]
        return by_name(self._names, with_floor(proportional(shares), self._config.floor))

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        """Fill the probe; count a step once it is full."""
        require_known(groups, self._pools)
        self._steps += not self._probe.missing.any()
        self._probe.take(groups)

    def state_dict(self) -> dict[str, Any]:
        """Steps since the probe, and the probe of each pool."""
        return {"steps": self._steps, "pools": self._probe.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, which must be of the same pools."""
        self._probe.load(state["pools"])
        self._steps = state["steps"]

    def metrics(self) -> dict[str, dict[str, float]]:
        """Pool -> its weight, pass rate, and label from 0, very hard, to 3, easy."""
        terms = zip(self._probe.rates().tolist(), self._labels().tolist(), strict=True)
        return {
            name: {"weight": weight, "pass_rate": rate, "label": float(label)}
            for (name, weight), (rate, label) in zip(self.weights().items(), terms, strict=True)
        }

    def _labels(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        thresholds = np.sort(self._config.thresholds)
        return np.searchsorted(thresholds, self._probe.rates(), side="right")
