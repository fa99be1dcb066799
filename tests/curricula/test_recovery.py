"""A pool that was hopeless and becomes learnable gets its share back, within stated steps."""

import random
from typing import Any

import pytest
from scored_groups import facts, passes
from shipped import build

from curricula.dump import Dump
from curricula.learnability import Learnability
from curricula.sec import Sec
from curricula.thompson import Thompson

POOLS = facts(["cold", "b", "c", "d"])
DRAWS, FLOOR, WINDOW = 16, 0.1, 32
# README: with a floor, a window is renewed in that many steps on average.
STEPS = round(WINDOW * len(POOLS) / (FLOOR * DRAWS))
SHARE = 0.5 / len(POOLS)


def lowest_and_last(cls: Any, options: dict[str, Any], steps: int = STEPS) -> tuple[float, float]:
    """Weight of the cold pool after 150 hopeless steps, and ``steps`` after it became learnable."""
    chance = random.Random(0)
    curriculum = build(cls, options, POOLS)
    starved = 0.0
    for step in range(150 + steps):
        if step == 150:
            starved = curriculum.weights()["cold"]
        rates = {name: 0.5 if name != "cold" or step >= 150 else 0.0 for name in POOLS}
        drawn = chance.choices(list(POOLS), list(curriculum.weights().values()), k=DRAWS)
        curriculum.observe(
            [passes(name, sum(chance.random() < rates[name] for _ in range(8))) for name in drawn]
        )
    return starved, curriculum.weights()["cold"]


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Dump, {"setting": "robust", "window": WINDOW}),
        (Dump, {"floor": FLOOR, "window": WINDOW, "count_unit": "prompt"}),
        (Learnability, {"window": WINDOW}),
        (Thompson, {"floor": FLOOR}),
        (Sec, {"floor": FLOOR}),
    ],
)
def test_a_starved_pool_recovers_within_a_renewed_window(cls: Any, options: dict[str, Any]) -> None:
    starved, recovered = lowest_and_last(cls, options)
    assert STEPS == 80
    assert FLOOR / len(POOLS) <= starved < SHARE
    assert recovered >= SHARE


def test_without_a_floor_it_may_not() -> None:
    starved, recovered = lowest_and_last(Dump, {"exploration": 0.0, "temperature": 0.05})
    assert starved < 1e-3
    assert recovered < 1e-3
