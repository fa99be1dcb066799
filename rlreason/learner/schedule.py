"""The learning rate as a function of the step alone, so that it needs no state."""

from __future__ import annotations

import math

from rlreason.config import LearnerSection


def learning_rate(config: LearnerSection, step: int, total_steps: int) -> float:
    """Rate of the updates of ``step`` (0-based): linear warm-up, then the schedule.

    ``linear`` and ``cosine`` reach 0 one step after the last; ``constant`` stays at the peak.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    if config.schedule == "linear":
        return config.learning_rate * (1 - progress)
    if config.schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * progress)) / 2
    return config.learning_rate
