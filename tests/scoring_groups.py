"""Groups and scorers for the scoring tests, and waiting for processes to end without sleeping."""

import os
import select
from collections.abc import Sequence

from rlreason.config import PluginConfig, ScoringSection
from rlreason.scoring import WorkerScorer
from rlreason.types import Problem, Rollout, RolloutGroup, Score


def rollout(completion: str, version: int = 0) -> Rollout:
    return Rollout(
        prompt_ids=(1,),
        completion_ids=(1,),
        completion=completion,
        rollout_logprobs=(0.0,),
        finish_reason="stop",
        policy_version=version,
    )


def group(*completions: str, slot: int = 0, pool: str = "pool") -> RolloutGroup:
    problem = Problem(id=f"problem-{slot}", pool=pool, prompt="?", answer="1")
    return RolloutGroup(
        problem=problem, slot=slot, rollouts=tuple(rollout(text) for text in completions)
    )


def scorer(
    use: str = "fixture_rewards:Obedient", *, seed: int = 0, **limits: float
) -> WorkerScorer:
    section = ScoringSection(**{"time_limit_s": 20.0, "memory_limit_gib": 1.0, **limits})  # type: ignore[arg-type]
    return WorkerScorer({"pool": PluginConfig(use=use)}, section, seed=seed)


def scores_of(scorer: WorkerScorer, *completions: str) -> Sequence[Score]:
    ((_, scores),) = scorer.score([group(*completions)])
    return scores


def ends(pid: int, within_s: float = 10.0) -> bool:
    """Whether process ``pid`` ends in time; a process that is gone already has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], within_s)[0])
    finally:
        os.close(descriptor)
