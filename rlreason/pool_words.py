"""Why these pools: what the curriculum weighed, in few words for the log and the terminal."""

from __future__ import annotations

import math

from rlreason.metrics import StepMetrics
from rlreason.pool_metrics import PoolMetrics


def most_weighted(metrics: StepMetrics, count: int) -> list[str]:
    """The names of the ``count`` pools with the largest weights, the largest first."""
    return sorted(metrics.pools, key=lambda name: -metrics.pools[name].weight)[:count]


def plain(value: float) -> str:
    """Three digits that a person reads at once: 0.0324, 12.5, 1,420, and 3.8e-14 where tiny."""
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"


def term_words(pool: PoolMetrics) -> str:
    """The terms of the curriculum's score: ``learnability 0.811, bonus 0.193, seen 1,416``."""
    known = ((key, value) for key, value in pool.curriculum.items() if value is not None)
    return ", ".join(f"{key} {plain(value)}" for key, value in known)


def why_drawn(metrics: StepMetrics, count: int = 3) -> str:
    """One line on the pools that weighed most in a step, with the terms behind their weights."""
    names = most_weighted(metrics, count)
    parts = []
    for name in names:
        pool, terms = metrics.pools[name], term_words(metrics.pools[name])
        parts.append(f"{name} {pool.weight:.3f}, {pool.draws} drawn{f' ({terms})' * bool(terms)}")
    left = len(metrics.pools) - len(names)
    more = f"; and {left} more" if left else ""
    return (
        f"step {metrics.step} weighs {'; '.join(parts)}{more}; entropy of the draw "
        f"{metrics.draw_entropy:.2f} of {math.log(max(len(metrics.pools), 1)):.2f} nats"
    )
