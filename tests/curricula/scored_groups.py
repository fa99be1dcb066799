"""Scored groups for the curriculum tests: only pool, advantages and outcomes matter there."""

from collections.abc import Sequence

from rlreason.types import Outcome, Problem, Rollout, RolloutGroup, Score, ScoredGroup

ROLLOUT = Rollout(
    prompt_ids=(1,),
    completion_ids=(2,),
    completion="x",
    rollout_logprobs=(-0.5,),
    finish_reason="stop",
    policy_version=0,
)


def scored_group(
    pool: str, advantages: Sequence[float], outcomes: Sequence[Outcome] | None = None
) -> ScoredGroup:
    size = len(advantages)
    problem = Problem(id="1", pool=pool, prompt="1+1=")
    return ScoredGroup(
        group=RolloutGroup(problem=problem, slot=0, rollouts=(ROLLOUT,) * size),
        scores=tuple(Score(value=0.0, outcome=outcome) for outcome in outcomes or ["ok"] * size),
        advantages=tuple(advantages),
    )
