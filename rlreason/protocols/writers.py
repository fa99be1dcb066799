"""The seam behind which the texts of critique fine-tuning are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from rlreason.types import TextReply, TextRequest


class Writer(Protocol):
    """Answers prompts with text: a generator of candidate solutions, or a teacher of critiques.

    A plug-in class may declare ``Config``, a pydantic model of its options, as a reward may. It
    may have a method ``check_problem(problem)`` that raises ``DataError``: every seed problem is
    then checked before anything heavy starts. What it writes is judged like any model's: by
    grade, verdict and correction.
    """

    def write(self, requests: Sequence[TextRequest]) -> Iterator[TextReply]:
        """Yield one reply per request as it is there, in any order.

        A reply is stored before the next one is asked for. What fails for one request is a reply
        with ``error``; what would fail for all of them raises ``TrainingStopped``.
        """
        ...
