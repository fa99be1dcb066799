"""Controllers of loss coefficients: pure rules from what a step measured to the next coefficient.

    KL, Ziegler et al. (arXiv:1909.08593), proportional in log space:
        error = clip((kl - target) / target, -0.2, 0.2)
        coefficient' = coefficient * (1 + gain * error)

    Entropy, Skywork-OR1 (arXiv:2505.22312), an additive staircase:
        coefficient' = clip(coefficient + change,  0, highest)   where entropy < target
                       clip(coefficient - change,  0, highest)   elsewhere
        applied      = coefficient where entropy <= target, else 0

The measurement is the mean over the loss tokens of the step just learned, so the coefficient of a
step never depends on the step itself.
"""

from __future__ import annotations

import math
from typing import NamedTuple

KL_ERROR_CLIP = 0.2
"""Largest relative error that the KL controller believes."""


def next_kl_coefficient(coefficient: float, kl: float, *, target: float, gain: float) -> float:
    """The coefficient after a step that measured ``kl`` nats per token.

    Args:
        coefficient: The coefficient of that step, > 0.
        kl: Its mean KL to the reference; an estimate, so it may be below 0. Not finite (a skipped
            update): the coefficient stays.
        target: The KL wanted, > 0.
        gain: How strongly the error moves the coefficient; below 5, so that it stays positive.
    """
    if not math.isfinite(kl):
        return coefficient
    error = (kl - target) / target
    return coefficient * (1.0 + gain * max(-KL_ERROR_CLIP, min(KL_ERROR_CLIP, error)))


class EntropyState(NamedTuple):
    """Where the entropy controller stands."""

    coefficient: float
    active: bool
    """Whether the last entropy measured was at or below the target."""

    @property
    def applied(self) -> float:
        """The coefficient that the next step's loss uses."""
        return self.coefficient if self.active else 0.0


def next_entropy_state(
    state: EntropyState, entropy: float, *, target: float, change: float, highest: float
) -> EntropyState:
    """The state after a step that measured ``entropy`` nats per token.

    Args:
        state: The state of that step.
        entropy: Its mean token entropy; not finite (a skipped update): the state stays.
        target: Entropy below which the coefficient grows, > 0.
        change: By how much, > 0.
        highest: Upper bound of the coefficient.
    """
    if not math.isfinite(entropy):
        return state
    moved = state.coefficient + (change if entropy < target else -change)
    return EntropyState(coefficient=max(0.0, min(highest, moved)), active=entropy <= target)
