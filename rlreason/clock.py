"""Where a step's seconds go. A phase counts its own time only: a nested phase is subtracted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")


class Clock:
    """Exclusive wall seconds per phase, from construction on."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._nested = [0.0]
        """Per open phase: seconds spent in phases inside it; the first entry is the step."""
        self.seconds: dict[str, float] = {}

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

    @property
    def total(self) -> float:
        """Seconds since construction, phases or not."""
        return time.perf_counter() - self._started
