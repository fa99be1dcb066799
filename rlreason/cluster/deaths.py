"""Counts what died, so that a run that only restarts stops and says so."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from rlreason.errors import TrainingStopped

log = logging.getLogger(__name__)

MAX_DEATHS = 3
WINDOW_S = 600.0


class _Event(NamedTuple):
    """One death, or those of all parts that a lost node took."""

    at: float
    told: list[str]
    node: str | None


class Deaths:
    """Deaths of engines and learner ranks in the last ten minutes."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._recent: deque[_Event] = deque()
        self.had_gpus: bool | None = None
        """Whether the run that goes on after them was on GPUs; None: it has not begun."""

    def add(self, what: str, *, lost_node: str | None = None) -> None:
        """Record that ``what`` happened ("engine 1 died: ...").

        All that goes with ``lost_node`` is one death, however many parts were there.

        Raises:
            TrainingStopped: If it is more than three within ten minutes.
        """
        now = self._now()
        while self._recent and self._recent[0].at < now - WINDOW_S:
            self._recent.popleft()
        known = [event for event in self._recent if lost_node and event.node == lost_node]
        if not known:
            self._recent.append(_Event(now, [], lost_node))
        (known or self._recent)[-1].told.append(what)
        log.warning("%s (%d of %d in ten minutes)", what, len(self._recent), MAX_DEATHS)
        if len(self._recent) > MAX_DEATHS:
            told = "; ".join(text for event in self._recent for text in event.told)
            raise TrainingStopped(
                f"{len(self._recent)} deaths in {WINDOW_S / 60:.0f} minutes: {told}. The cause is "
                "still there, so nothing is started again; the last checkpoint and the journal are "
                "kept, and the same command continues"
            )
