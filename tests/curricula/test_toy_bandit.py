"""Twelve simulated pools of rising difficulty: a curriculum must get there in fewer steps.

A pool's pass rate is logistic in skill minus difficulty. A prompt teaches its pool p (1 - p), the
variance of its reward, and leaks 0.35 of that to the neighbouring pools. These dynamics favour
|advantage|: this is a regression test of the curriculum, not evidence for it.
"""

import random
import statistics
from typing import Any

import numpy as np
import pytest
from scored_groups import facts, scored_group
from shipped import build

from curricula.dump import Dump
from curricula.learnability import Learnability
from curricula.sec import Sec
from curricula.thompson import Thompson
from curricula.uniform import Uniform
from rlreason.protocols import Curriculum
from rlreason.types import ScoredGroup

NUM_POOLS, PROMPTS, GROUP_SIZE = 12, 64, 16
GAIN, LEAK, MAX_STEPS = 0.06, 0.35, 60
POOLS = facts({f"pool{number:02}": 900 for number in range(NUM_POOLS)})


def sampled_group(pool: str, pass_rate: float, chance: random.Random) -> ScoredGroup:
    rewards = [float(chance.random() < pass_rate) for _ in range(GROUP_SIZE)]
    mean, deviation = statistics.fmean(rewards), statistics.stdev(rewards)
    advantages = [(reward - mean) / (deviation + 1e-6) for reward in rewards]
    return scored_group(pool, advantages, rewards=rewards)


def steps_to_half(curriculum: Curriculum, seed: int) -> int:
    """Steps until the mean pass rate over the pools is one half."""
    chance = random.Random(seed)
    skill = np.linspace(1.5, -6.0, NUM_POOLS)
    for step in range(MAX_STEPS):
        pass_rate = 1.0 / (1.0 + np.exp(-skill))
        if pass_rate.mean() >= 0.5:
            return step
        weights = curriculum.weights()
        drawn = chance.choices(range(NUM_POOLS), list(weights.values()), k=PROMPTS)
        curriculum.observe(
            [sampled_group(f"pool{arm:02}", pass_rate[arm], chance) for arm in drawn]
        )
        taught = GAIN * np.bincount(drawn, minlength=NUM_POOLS) * pass_rate * (1.0 - pass_rate)
        skill += taught
        skill[1:] += LEAK * taught[:-1]
        skill[:-1] += LEAK * taught[1:]
    return MAX_STEPS


# Steps seen: uniform 31-33, paper 17-20, by prompts 23-24, robust 18-19, learnability 24-26,
# thompson 21-24, sec 19-20.
CASES: list[tuple[Any, dict[str, Any], float]] = [
    (Dump, {}, 0.7),
    (Dump, {"count_unit": "prompt"}, 0.8),
    (Dump, {"setting": "robust"}, 0.7),
    (Learnability, {}, 0.85),
    (Thompson, {}, 0.8),
    (Sec, {}, 0.7),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("cls", "options", "share"), CASES)
def test_an_adaptive_curriculum_reaches_half_in_clearly_fewer_steps_than_uniform(
    cls: Any, options: dict[str, Any], share: float, seed: int
) -> None:
    uniform = steps_to_half(build(Uniform, {}, POOLS), seed)
    assert uniform < MAX_STEPS
    assert steps_to_half(build(cls, options, POOLS), seed) <= share * uniform
