"""The parts of a step's metrics that only some recipes have: refill, control, sampling ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RefillMetrics:
    """What dynamic sampling cost a step, and what it got."""

    rounds: int
    """Draws of the step; 1 when the first one was enough."""
    extra_rollouts: int
    """Completions beyond those of the first draw."""
    kept_frac: float
    """Share of the sampled groups that the update learns from."""
    missing: int
    """Groups that the step lacks because it reached rollout.refill.max_extra; 0 when full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlMetrics:
    """What the controllers gave the step."""

    kl_coefficient: float | None
    """In the loss or in the reward; None without a KL term."""
    entropy_coefficient: float | None
    """None without an entropy bonus or target."""
    reference_version: int | None
    """Policy version that the KL term compares with; 0 is the starting model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AheadMetrics:
    """What ``rollout.lag = 1`` meant for the step, and what ran beside it."""

    policy_lag: int
    """Versions between the weights that learned from the step and those that sampled it."""
    sampler_gap: float | None
    """Mean absolute gap of engine and learner logprobs on equal weights, nats: the proof that the
    step's version reached the engine. None where nothing was sampled from that version."""
    phase_s: Mapping[str, float]
    """Exclusive seconds per phase of the next step's sampling, beside this step's learning."""
    hidden_s: float
    """Seconds of that sampling for which the loop did not wait."""
