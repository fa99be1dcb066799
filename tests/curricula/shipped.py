"""Every curriculum that ships, with option sets that its tests go through."""

from __future__ import annotations

from typing import Any, NamedTuple

from curricula.difficulty import Difficulty
from curricula.dump import Dump
from curricula.fixed_mixture import FixedMixture
from curricula.learnability import Learnability
from curricula.ordinal import OrdinalSchedule
from curricula.proportional import Proportional
from curricula.sec import Sec
from curricula.stages import Stages
from curricula.thompson import Thompson
from curricula.uniform import Uniform
from rlreason.types import PoolFacts

NAMES = ("a", "b", "c", "d")


class Shipped(NamedTuple):
    cls: Any
    options: tuple[dict[str, Any], ...] = ({},)


SHIPPED = {
    "uniform": Shipped(Uniform),
    "proportional": Shipped(Proportional),
    "fixed_mixture": Shipped(FixedMixture, ({"weights": {"a": 3, "b": 1, "c": 0, "d": 0.5}},)),
    "dump": Shipped(
        Dump,
        (
            {"window": 5},
            {"setting": "robust"},
            {"setting": "robust", "window": 3, "count_unit": "rollout", "floor": 0.5},
            {"temperature": 0.0, "count_unit": "prompt", "window": 1},
            {"temperature": 1e-320, "exploration": 3.0, "floor": 1.0},
            {"temperature": 1e6, "exploration": 0.0, "statistic": "reward_spread"},
        ),
    ),
    "learnability": Shipped(Learnability, ({}, {"window": 2, "prior": 1e-3, "floor": 0.0})),
    "thompson": Shipped(Thompson, ({}, {"discount": 1.0, "floor": 0.2}, {"discount": 0.0})),
    "sec": Shipped(Sec, ({}, {"rate": 1.0, "temperature": 1e-3, "floor": 0.1})),
    "stages": Shipped(
        Stages,
        (
            {"window": 1, "goal": 0.5},
            {"stages": [["d", "a"], ["c"], ["b"]], "window": 1, "goal": 0.1, "floor": 0.0},
            {"patience": 1, "goal": 1.0},
        ),
    ),
    "ordinal": Shipped(
        OrdinalSchedule,
        (
            {"steps_per_rank": 1},
            {"ranks": {"a": 2, "b": 9, "c": 2, "d": -1}, "steps_per_rank": 2, "cumulative": True},
        ),
    ),
    "difficulty": Shipped(
        Difficulty,
        (
            {"probe": 4},
            {"probe": 1, "pass_rates": {"a": 0.5}, "thresholds": [0.9, 0.1, 0.5], "floor": 0.3},
            {
                "probe": 2,
                "stages": [
                    {"steps": 1, "shares": {"easy": 1}},
                    {"steps": 1, "shares": {"very_hard": 1, "hard": 0.5}},
                ],
            },
        ),
    ),
}
"""Module of ``curricula`` -> its class and options for pools called ``NAMES``."""

CASES = [(shipped.cls, options) for shipped in SHIPPED.values() for options in shipped.options]
CASE_NAMES = [f"{cls.__name__}-{number}" for number, (cls, _) in enumerate(CASES)]


def build(cls: Any, options: dict[str, Any], pools: dict[str, PoolFacts]) -> Any:
    return cls(pools, cls.Config(**options))
