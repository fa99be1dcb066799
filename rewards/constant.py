"""The same value for everything: no advantage, so no policy gradient.

    reward: rewards.constant:Constant

What still changes under this reward (a KL term, weight decay) is not the reward's doing. The run
says "no signal" at every step, as it should.
"""

from __future__ import annotations

from rlreason.types import Problem


class Constant:
    """Always 1."""

    bounds = (0.0, 1.0)
    needs_answer = False

    def __call__(self, problem: Problem, completion: str) -> float:
        """1, whatever the completion."""
        del problem, completion
        return 1.0
