"""One engine's place among the others: what it was asked to do, and how long it has been silent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rlreason.cluster.ray_host import LostError, Member

REPORT_S = 1.0
"""An engine at work reports at least so often."""
LOCATE_S = 60.0
"""How long an engine that is ready may take to say where it runs."""


class EngineSeat:
    """One engine's place: the process that fills it now, and what it was asked to do."""

    def __init__(self, member: Member, made: Any, *, start_s: float) -> None:
        """Wait for ``made``, the reference to the engine's own start."""
        self.member = member
        self._orders: deque[tuple[str, Any, float]] = deque([("start", made, start_s)])
        self._since = time.monotonic()
        self._warm_s = start_s
        """What the first sampling may take on top: caches fill and kernels compile."""

    def order(self, kind: str, seconds: float, function: Callable[..., Any], *args: Any) -> None:
        """Ask for something; answers come in the order of the asking."""
        if not self._orders:
            self._since = time.monotonic()
        if kind == "sample":
            seconds, self._warm_s = max(seconds, self._warm_s), 0.0
        self._orders.append((kind, self.member.call(function, *args), seconds))

    def abandon(self) -> None:
        """Nobody asks any more for what is being sampled."""
        self._orders = deque(
            ("abandoned" if kind == "sample" else kind, ref, seconds)
            for kind, ref, seconds in self._orders
        )

    @property
    def count(self) -> int:
        """Orders under way."""
        return len(self._orders)

    @property
    def awaited(self) -> Any:
        """The reference that is answered next."""
        return self._orders[0][1]

    def answer(self) -> tuple[str, Any]:
        """The next answer, which is there; and what it answers.

        Raises:
            LostError: If the process died.
        """
        kind, ref, _ = self._orders[0]
        result = self.member.result(ref, REPORT_S, kind)
        if kind == "start":
            self.member.locate(LOCATE_S)
        self._orders.popleft()
        self._since = time.monotonic()
        return kind, result

    def refuse_silence(self) -> None:
        """Look at the clock.

        Raises:
            LostError: If the next answer is overdue.
        """
        if self._orders and time.monotonic() - self._since > self._orders[0][2]:
            kind, _, seconds = self._orders[0]
            raise LostError(self.member.silent(seconds, kind))
