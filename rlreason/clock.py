"""Where a step's seconds go. A phase counts its own time only: a nested phase is subtracted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")

AFTER_RECORD = ("record", "evaluate", "checkpoint")


class Clock:
    """Exclusive wall seconds per phase, from construction on."""

    def __init__(self, carried: Mapping[str, float] | None = None) -> None:
        """Start now; ``carried`` counts too: seconds of the step before, spent after its record."""
        self._started = time.perf_counter()
        self._nested = [0.0]
        """Per open phase: seconds spent in phases inside it; the first entry is the step."""
        self._carried = dict(carried or {})
        self.seconds: dict[str, float] = dict(self._carried)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the body as ``name``; phases opened inside count for themselves."""
        start = time.perf_counter()
        self._nested.append(0.0)
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            inside = self._nested.pop()
            self._nested[-1] += elapsed
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed - inside

    def iterate(self, name: str, items: Iterable[_T]) -> Iterator[_T]:
        """Yield from ``items``; the time spent producing each of them counts as ``name``."""
        iterator = iter(items)
        while True:
            with self.phase(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def after_record(self) -> dict[str, float]:
        """Seconds of the phases that end after the step's record; the next record counts them."""
        return {
            name: self.seconds.get(name, 0.0) - self._carried.get(name, 0.0)
            for name in AFTER_RECORD
        }

    @property
    def total(self) -> float:
        """Seconds since construction, phases or not, and what was carried."""
        return time.perf_counter() - self._started + sum(self._carried.values())
