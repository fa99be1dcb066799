"""Counts what died, so that a run that only restarts stops and says so."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from rlreason.errors import TrainingStopped

log = logging.getLogger(__name__)

MAX_DEATHS = 3
WINDOW_S = 600.0


class Deaths:
    """Deaths of engines and learner ranks in the last ten minutes."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._recent: deque[tuple[float, str]] = deque()

    def add(self, what: str) -> None:
        """Record that ``what`` happened ("engine 1 died: ...").

        Raises:
            TrainingStopped: If it is more than three within ten minutes.
        """
        now = self._now()
        self._recent.append((now, what))
        while self._recent[0][0] < now - WINDOW_S:
            self._recent.popleft()
        log.warning("%s (%d of %d in ten minutes)", what, len(self._recent), MAX_DEATHS)
        if len(self._recent) > MAX_DEATHS:
            told = "; ".join(text for _, text in self._recent)
            raise TrainingStopped(
                f"{len(self._recent)} deaths in {WINDOW_S / 60:.0f} minutes: {told}. The cause is "
                "still there, so nothing is started again; the last checkpoint and the journal are "
                "kept, and the same command continues"
            )
