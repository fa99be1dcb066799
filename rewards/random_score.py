"""A random number, whatever the completion says: the control that every reward must beat.

    reward: rewards.random_score:RandomScore

Uniform in [0, 1). The worker seeds ``random`` afresh for each completion from the run's seed, the
step's policy version, the problem and the sample's place, so a resume draws the same numbers and
two equal completions do not get equal ones. A model that improves under this reward improves by
something else than the reward (arXiv 2506.10947 shows that some do).
"""

from __future__ import annotations

import random

from rlreason.types import Problem


class RandomScore:
    """No information at all, at the full variance of a reward."""

    bounds = (0.0, 1.0)
    needs_answer = False

    def __call__(self, problem: Problem, completion: str) -> float:
        """A number from the generator that the worker has seeded for this completion."""
        del problem, completion
        return random.random()
