"""Scored groups and step metrics for the tests of what is logged and shown."""

from dataclasses import replace
from typing import Any

from rlreason.draw_history import DrawHistory, RunUse
from rlreason.metrics import StepMetrics, summarize
from rlreason.types import Outcome, Problem, Rollout, RolloutGroup, Score, ScoredGroup, UpdateStats

BOUNDS = {"easy": (0.0, 1.0), "hard": (-1.0, 1.0)}
UPDATE = UpdateStats(
    loss=0.25, grad_norm=2.0, learning_rate=1e-3, entropy=0.5, clip_frac=0.1, mismatch_kl=2e-7,
    mismatch_abs=3e-7, kl=0.0, num_tokens=60, padding_frac=0.05, skipped=False,
)  # fmt: skip


def scored_group(
    pool: str,
    slot: int,
    values: list[float],
    *,
    lengths: list[int] | None = None,
    outcomes: list[Outcome] | None = None,
    parts: list[dict[str, float]] | None = None,
) -> ScoredGroup:
    """A group with these scores; a length of 9 or more counts as cut."""
    size = len(values)
    lengths, outcomes = lengths or [3] * size, outcomes or ["ok"] * size
    parts = parts or [{}] * size
    rollouts = tuple(
        Rollout(prompt_ids=(1, 2, 3, 4), completion_ids=(5,) * n, completion="x",
                rollout_logprobs=(-0.1,) * n, finish_reason="length" if n >= 9 else "stop",
                policy_version=7)
        for n in lengths
    )  # fmt: skip
    mean = sum(values) / size
    return ScoredGroup(
        group=RolloutGroup(
            problem=Problem(id=f"p{slot}", pool=pool, prompt="?"), slot=slot, rollouts=rollouts
        ),
        scores=tuple(
            Score(value=v, outcome=o, parts=p)
            for v, o, p in zip(values, outcomes, parts, strict=True)
        ),
        advantages=tuple(
            0.0 if o == "infra" else v - mean for v, o in zip(values, outcomes, strict=True)
        ),
    )


def pool_use(scored: list[ScoredGroup], *names: str, size: int = 10) -> RunUse:
    """The use of pools of ``size`` problems after this first step."""
    return DrawHistory(dict.fromkeys(names, size)).observe(scored)


def step_metrics(step: int = 7, **changes: Any) -> StepMetrics:
    """A healthy step, less ``changes``."""
    scored = [scored_group("easy", 0, [0.0, 1.0]), scored_group("hard", 1, [-1.0, 1.0])]
    metrics = summarize(
        step=step, version=step, replayed=False, weights={"easy": 0.75, "hard": 0.25},
        scored=scored, use=pool_use(scored, "easy", "hard"), update=UPDATE,
        curriculum_terms={"easy": {"bonus": 0.5}}, bounds=BOUNDS,
        phase_s={"rollout": 0.28, "score": 0.01, "learn": 0.11}, step_s=0.41,
    )  # fmt: skip
    return replace(metrics, **changes)
