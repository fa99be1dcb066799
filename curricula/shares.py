"""From numbers per pool to a distribution over pools."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

CELLS, REACH = 24, 4.0
"""Cells of the integral of ``chance_to_be_best``, and deviations from the means where it ends."""


def softmax(scores: Floats, temperature: float) -> Floats:
    """[pools] softmax of scores / temperature; at 0 its limit, ties shared equally."""
    gaps = scores - scores.max()
    if temperature == 0.0:
        return proportional((gaps == 0.0).astype(np.float64))
    with np.errstate(over="ignore"):  # a tiny temperature: exp(-inf) = 0 is what is meant
        return proportional(np.exp(gaps / temperature))


def proportional(values: Floats) -> Floats:
    """[pools] each value's share of their sum; all equally where every value is 0."""
    # fsum rounds once, so that the order of the pools does not matter.
    total = math.fsum(values.tolist())
    return values / total if total > 0.0 else np.full(len(values), 1.0 / len(values))


def with_floor(shares: Floats, floor: float) -> Floats:
    """[pools] ``floor`` of the draws spread equally over all pools, the rest by ``shares``."""
    return (1.0 - floor) * shares + floor / len(shares)


def by_name(names: Sequence[str], shares: Floats) -> dict[str, float]:
    """Pool -> its share."""
    return dict(zip(names, shares.tolist(), strict=True))


def chance_to_be_best(means: Floats, deviations: Floats) -> Floats:
    """[pools] chance that a normal variable is larger than those of all other pools, about.

    The integral of a pool's density times the product of the others' distribution functions. It is
    taken on one grid for all pools, so the result sums to 1 only nearly.
    """
    lowest = (means - REACH * deviations).max()  # the best of all is hardly ever below
    edges = np.linspace(lowest, (means + REACH * deviations).max(), CELLS + 1)[:, None]
    below = edges - means  # [cells + 1, pools], then in place: most of the cost is memory
    below /= deviations
    np.maximum(ndtr(below, out=below), 1e-300, out=below)
    others = np.exp(np.log(below).sum(axis=1, keepdims=True)) / below
    chances: Floats = np.einsum("cp,cp->p", np.diff(below, axis=0), others[1:] + others[:-1])
    return chances / 2.0
