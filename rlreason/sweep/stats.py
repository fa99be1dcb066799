"""Statistics of paired trials: differences with intervals, corrected, and never more certain than
the data.

**What is resampled.** A comparison is paired by seed and by held-out problem: its data are the
differences d[seed, problem], pool by pool. A bootstrap replicate draws seeds with replacement and,
within every pool, problems with replacement (the same problems for all seeds of the replicate), and
takes the mean over pools of the mean over drawn seeds and problems, so that pools count equally.
The standard error is the standard deviation of 4,000 replicates, times sqrt(S / (S - 1)) for S
seeds, because S drawn seeds vary too little by that factor. The 95 % interval is the difference
plus and minus that error times Student's t with S - 1 degrees of freedom; p comes from the same t.
That is an honest interval for three to five seeds, where percentiles of a bootstrap are too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from rlreason.errors import DataError

CONFIDENCE = 0.95
MIN_SEEDS = 3
"""With fewer no difference is called shown, whatever its size."""

_REPLICATES = 4_000

Scores = Mapping[str, np.ndarray]
"""Pool -> [seeds, problems]."""

Verdict = Literal["better", "worse", "not shown", "too few seeds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A paired difference to the baseline; positive is more than the baseline."""

    mean: float
    low: float
    high: float
    p: float
    """Two-sided, of this difference alone. 1 with a single seed."""
    num_seeds: int

    @property
    def holds_zero(self) -> bool:
        """Whether the interval does not tell the sign."""
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        if self.num_seeds < 2:
            return f"{self.mean:+.3f} [no interval: one seed]"
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def paired_difference(other: Scores, baseline: Scores) -> dict[str, np.ndarray]:
    """Pool -> [seeds, problems] of ``other`` less ``baseline``.

    Raises:
        DataError: If the two are not of the same pools, seeds and problems.
    """
    shapes = [{pool: values.shape for pool, values in side.items()} for side in (other, baseline)]
    if shapes[0] != shapes[1]:
        raise DataError(f"not paired: (seeds, problems) are {shapes[0]} against {shapes[1]}")
    return {pool: values - baseline[pool] for pool, values in other.items()}


def paired_effect(differences: Scores) -> Effect:
    """The mean difference over pools with its interval (how: the top of this file).

    The seed of the resampling is fixed: the same data always give the same interval, whatever the
    order of the seeds.
    """
    ordered = [np.asarray(values, dtype=np.float64) for values in differences.values()]
    num_seeds = ordered[0].shape[0]
    mean = float(np.mean([values.mean() for values in ordered]))
    if num_seeds < 2:
        return Effect(mean=mean, low=-np.inf, high=np.inf, p=1.0, num_seeds=num_seeds)
    shrunk = np.sqrt(num_seeds / (num_seeds - 1))
    return _student(mean, shrunk * float(_replicates(ordered).std()), num_seeds)


def seed_effect(differences: Sequence[float]) -> Effect:
    """The mean of one difference per seed, with Student's interval over seeds.

    For what has no value per problem, such as steps to a threshold.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        mean = float(values.mean())
        return Effect(mean=mean, low=-np.inf, high=np.inf, p=1.0, num_seeds=len(values))
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return _student(float(values.mean()), error, len(values))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given: for m tests, the i-th smallest p times
    m - i, never less than the one before it."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def verdict(effect: Effect, corrected_p: float) -> Verdict:
    """What may be said of a difference."""
    if effect.num_seeds < MIN_SEEDS:
        return "too few seeds"
    if effect.holds_zero or corrected_p >= 1 - CONFIDENCE:
        return "not shown"
    return "better" if effect.mean > 0 else "worse"


def interquartile_mean(scores: Scores) -> float:
    """Mean of the middle half of all seed-and-pool accuracies."""
    values = np.concatenate([values.mean(axis=1) for values in scores.values()])
    return float(stats.trim_mean(values, 0.25))


def largest_contributor(differences: Scores) -> str | None:
    """The pool that moves the mean most in its own direction; None for a single pool."""
    if len(differences) < 2:
        return None
    means = {pool: float(values.mean()) for pool, values in differences.items()}
    sign = 1.0 if sum(means.values()) >= 0 else -1.0
    return max(means, key=lambda pool: sign * means[pool])


def first_reach(values: np.ndarray, at: Sequence[int], threshold: float) -> int | None:
    """Where a curve is first at the threshold; None if it never is (censored)."""
    reached = np.flatnonzero(values >= threshold - 1e-12)
    return at[int(reached[0])] if len(reached) else None


def area(values: np.ndarray, at: Sequence[int]) -> np.ndarray:
    """Area under curves [versions, ...] over ``at``, divided by its length: a mean over the run."""
    return np.asarray(np.trapezoid(values, at, axis=0)) / (at[-1] - at[0])


def restricted(time: int | None, horizon: int) -> int:
    """The time, or the horizon for a run that took longer or never arrived."""
    return horizon if time is None else min(time, horizon)


def _student(mean: float, error: float, num_seeds: int) -> Effect:
    if error < 1e-12:  # every seed and problem agrees exactly
        p = float(abs(mean) < 1e-12)
        return Effect(mean=mean, low=mean, high=mean, p=p, num_seeds=num_seeds)
    law = stats.t(num_seeds - 1)
    half = float(law.ppf((1 + CONFIDENCE) / 2)) * error
    p = 2 * float(law.sf(abs(mean) / error))
    return Effect(mean=mean, low=mean - half, high=mean + half, p=p, num_seeds=num_seeds)


def _replicates(pools: Sequence[np.ndarray]) -> np.ndarray:
    """[replicates]: the mean difference with drawn seeds and problems."""
    chance = np.random.default_rng(0)
    num_seeds = pools[0].shape[0]
    seeds = chance.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), _REPLICATES)
    total = np.zeros(_REPLICATES)
    # Sorted, so that the draw does not depend on the order in which the seeds were listed.
    order = np.lexsort(np.hstack(pools).T)
    for values in pools:
        count = values.shape[1]
        problems = chance.multinomial(count, np.full(count, 1 / count), _REPLICATES)
        total += np.einsum("bs,sp,bp->b", seeds, values[order], problems, optimize=True) / count
    return total / num_seeds / len(pools)
