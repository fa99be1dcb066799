"""Pools and scored groups for the curriculum tests."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from rlreason.types import Outcome, PoolFacts, Problem, Rollout, RolloutGroup, Score, ScoredGroup

BINARY = (0.0, 1.0)

ROLLOUT = Rollout(
    prompt_ids=(1,),
    completion_ids=(2,),
    completion="x",
    rollout_logprobs=(-0.5,),
    finish_reason="stop",
    policy_version=0,
)


def facts(
    sizes: Mapping[str, int] | Iterable[str], bounds: tuple[float, float] = BINARY
) -> dict[str, PoolFacts]:
    named = dict(sizes) if isinstance(sizes, Mapping) else dict.fromkeys(sizes, 100)
    return {name: PoolFacts(size=size, reward_bounds=bounds) for name, size in named.items()}


def rewarded_group(
    pool: str, rewards: Sequence[float], outcomes: Sequence[Outcome] | None = None
) -> ScoredGroup:
    """A group with these rewards and, as advantage, their distance from the mean."""
    mean = statistics.fmean(rewards)
    return scored_group(pool, [reward - mean for reward in rewards], outcomes, rewards)


def passes(pool: str, num_passed: int, group_size: int = 8) -> ScoredGroup:
    """A group of 0/1 rewards, ``num_passed`` of them 1."""
    return rewarded_group(pool, [1.0] * num_passed + [0.0] * (group_size - num_passed))


def scored_group(
    pool: str,
    advantages: Sequence[float],
    outcomes: Sequence[Outcome] | None = None,
    rewards: Sequence[float] | None = None,
) -> ScoredGroup:
    size = len(advantages)
    problem = Problem(id="1", pool=pool, prompt="1+1=")
    return ScoredGroup(
        group=RolloutGroup(problem=problem, slot=0, rollouts=(ROLLOUT,) * size),
        scores=tuple(
            Score(value=value, outcome=outcome)
            for value, outcome in zip(
                rewards or [0.0] * size, outcomes or ["ok"] * size, strict=True
            )
        ),
        advantages=tuple(advantages),
    )
