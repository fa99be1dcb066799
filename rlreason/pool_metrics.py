"""One pool's part of a step, and how groups of completions are judged."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from rlreason.draw_history import PoolUse
from rlreason.types import Rollout, Score, ScoredGroup

Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMetrics:
    """One pool's part of a step."""

    weight: float
    """Probability with which the curriculum drew it."""
    draws: int
    """Problems drawn from it."""
    reward_mean: float | None
    """None where nothing of it was drawn or scored."""
    solved_frac: float | None
    """Share of its groups in which every completion has the reward's highest value."""
    hopeless_frac: float | None
    """Share of its groups in which every completion has the reward's lowest value."""
    tokens: int
    """Completion tokens sampled for it."""
    reuse_mean: float | None
    """How often its problems of this step had been drawn before; None where none was drawn."""
    distinct_frac: float
    """Share of its training problems that were drawn at least once so far."""
    draws_so_far: int
    """Problems drawn from it since the run began, this step included."""
    tokens_so_far: int
    """Completion tokens sampled for it since the run began, this step included."""
    curriculum: Mapping[str, float | None]
    """The terms behind the weight, from ``Curriculum.metrics``, the weight itself apart."""


def pool_metrics(
    weights: Mapping[str, float],
    scored: Sequence[ScoredGroup],
    terms: Mapping[str, Mapping[str, float]],
    bounds: Mapping[str, Bounds],
    use: Mapping[str, PoolUse],
) -> dict[str, PoolMetrics]:
    """Every pool's part of a step, drawn or not, in the order of the weights."""
    drawn: dict[str, list[ScoredGroup]] = {name: [] for name in weights}
    for item in scored:
        drawn[item.problem.pool].append(item)
    return {
        name: PoolMetrics(
            weight=weights[name],
            draws=len(groups),
            reward_mean=mean([score.value for score in counted_scores(groups)]),
            solved_frac=share(at_bound(groups, bounds, 1)) if groups else None,
            hopeless_frac=share(at_bound(groups, bounds, 0)) if groups else None,
            tokens=sum(len(rollout.completion_ids) for rollout in rollouts(groups)),
            curriculum={key: v for key, v in terms.get(name, {}).items() if key != "weight"},
            **asdict(use[name]),
        )
        for name, groups in drawn.items()
    }


def rollouts(scored: Iterable[ScoredGroup]) -> Iterator[Rollout]:
    """All completions of the groups."""
    return (rollout for item in scored for rollout in item.group.rollouts)


def counted_scores(scored: Iterable[ScoredGroup]) -> list[Score]:
    """Scores that say something of the model: an ``infra`` fault does not."""
    return [
        score
        for item in scored
        for score, counted in zip(item.scores, item.counted, strict=True)
        if counted
    ]


def at_bound(scored: Iterable[ScoredGroup], bounds: Mapping[str, Bounds], side: int) -> list[bool]:
    """Per group: whether all its scores sit at their reward's lowest (0) or highest (1) value."""
    flags = []
    for item in scored:
        scores, bound = counted_scores([item]), bounds[item.problem.pool][side]
        sits = (math.isclose(score.value, bound, abs_tol=1e-9) for score in scores)
        flags.append(bool(scores) and all(sits))
    return flags


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return statistics.fmean(values) if values else None


def share(flags: Sequence[bool]) -> float:
    """0 of nothing."""
    return sum(flags) / len(flags) if flags else 0.0
