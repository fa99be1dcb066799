"""A measured mean and how sure one may be of it: 95 % intervals over problems, and pass@k.

Problems are the unit of every interval: completions of one problem are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95

_RESAMPLES = 2000
_RESAMPLES_AT_ONCE = 100  # bounds memory: 10,000 problems x 100 resamples are 8 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over problems with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.mean <= self.high:
            raise ValueError(f"the interval [{self.low}, {self.high}] misses its mean {self.mean}")

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def fraction_estimate(correct: Sequence[bool]) -> Estimate:
    """Share of problems solved, with Wilson's interval.

    Wilson's stays inside [0, 1] and keeps a width where all or none are solved.
    """
    return _wilson(sum(correct) / len(correct), len(correct))


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Mean of one value in [0, 1] per problem, with a percentile bootstrap over problems.

    Where all problems have the same value there is nothing to resample: the interval is then
    Wilson's for as many problems with a 0/1 value of that mean. Of all values in [0, 1] with a
    given mean these spread most, so the interval is too wide rather than too narrow.

    The resampling seed is fixed: the same values always give the same interval.
    """
    mean = math.fsum(values) / len(values)
    if min(values) == max(values):
        return _wilson(values[0], len(values))
    interval = stats.bootstrap(
        (np.asarray(values, dtype=np.float64),),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=_RESAMPLES_AT_ONCE,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(
        mean=mean, low=min(float(interval.low), mean), high=max(float(interval.high), mean)
    )


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that at least one of ``k`` completions is correct, without bias.

        pass@k = 1 - C(n - c, k) / C(n, k)

    Args:
        n: Completions sampled.
        c: Correct ones among them.
        k: Completions that the metric grants, at most ``n``.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def _wilson(mean: float, count: int) -> Estimate:
    """Wilson's interval; a mean between two counts takes the outer ends of both intervals."""
    hits = round(mean * count, 9)  # 3 * (1 / 3) may come out a hair beside 1
    low, high = (
        stats.binomtest(number, count).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
        for number in (math.floor(hits), math.ceil(hits))
    )
    # At 0 and at `count` hits rounding may leave the end a hair inside of the mean.
    return Estimate(mean=mean, low=min(float(low.low), mean), high=max(float(high.high), mean))
