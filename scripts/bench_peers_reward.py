"""A reward for timing: a number in [0, 1) that hangs on every character of the completion."""

from __future__ import annotations

import hashlib

from rlreason.types import Problem


class Spread:
    """The completion's hash as a fraction: two different completions never score the same."""

    bounds = (0.0, 1.0)

    def __call__(self, problem: Problem, completion: str) -> float:  # noqa: ARG002
        """Score ``completion``; the problem does not matter."""
        return int.from_bytes(hashlib.sha256(completion.encode()).digest()[:4], "big") / 2**32
