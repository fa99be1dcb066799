"""What a scored group says of its pool, in units that a curriculum can compare across pools.

Rewards are scaled to [0, 1] by the bounds of the pool's reward. Completions whose reward an infra
fault hides count nowhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rlreason.types import PoolFacts, ScoredGroup


def mean(values: Sequence[float]) -> float:
    """Mean, 0 of nothing; fsum rounds once, so the order of the values does not matter."""
    return math.fsum(values) / len(values) if values else 0.0


def absolute_advantages(group: ScoredGroup) -> list[float]:
    """One ``|advantage|`` per counted completion, in the unit of ``algorithm.advantage``."""
    pairs = zip(group.scores, group.advantages, strict=True)
    return [abs(advantage) for score, advantage in pairs if score.outcome != "infra"]


def scaled_rewards(group: ScoredGroup, facts: PoolFacts) -> list[float]:
    """One reward in [0, 1] per counted completion: for a 0/1 reward, whether it passed."""
    return [facts.scaled(score.value) for score in group.scores if score.outcome != "infra"]


def pass_rate(group: ScoredGroup, facts: PoolFacts) -> list[float]:
    """The mean scaled reward, as a list of one; nothing if every reward is hidden."""
    rewards = scaled_rewards(group, facts)
    return [mean(rewards)] if rewards else []


def spreads(group: ScoredGroup, facts: PoolFacts) -> list[float]:
    """How far each counted completion's scaled reward is from the others' of its group.

        spread_i = 2 * mean over j != i of |x_i - x_j|        x: rewards scaled to [0, 1]

    Their mean over the group is twice Gini's mean difference, an unbiased estimate of
    ``2 E|X - X'|`` for two completions of the problem: it depends neither on the group size nor on
    how the advantage is normalised. For a 0/1 reward of pass rate p it is 4 p (1 - p) in
    expectation. That expectation lies in [0, 1] for any reward; a small group's value can exceed 1.

    Returns:
        Nothing for fewer than two counted completions: there is nothing to compare.
    """
    rewards = scaled_rewards(group, facts)
    others = len(rewards) - 1
    if others < 1:
        return []
    counts = Counter(rewards).items()  # few distinct rewards are the rule
    gaps = {
        value: 2.0 * math.fsum(count * abs(value - other) for other, count in counts) / others
        for value, _ in counts
    }
    return [gaps[value] for value in rewards]
