"""SIGINT and SIGTERM end a run at the next step boundary; a second SIGINT ends it at once."""

from __future__ import annotations

import logging
import signal
from types import FrameType, TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)


class Interrupts:
    """Remembers the first signal, so that the loop can save before it leaves."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.received is not None:
            raise KeyboardInterrupt  # what the journal holds is kept; the step under way is not
        self.received = number
        log.warning(
            "%s: finishing this step, then saving; once more leaves at once",
            signal.Signals(number).name,
        )

    @property
    def exit_code(self) -> int:
        """128 + signal: 130 after SIGINT, 143 after SIGTERM."""
        assert self.received is not None, "only after a signal"
        return 128 + self.received
