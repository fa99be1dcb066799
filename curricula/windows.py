"""The newest observations of every pool: what several curricula remember, with its exact state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from curricula.signals import mean


class Windows:
    """For each pool its last ``length`` observations, their mean, and how many there ever were."""

    def __init__(self, names: Sequence[str], length: int) -> None:
        self.index = {name: position for position, name in enumerate(names)}
        self.means = np.zeros(len(names))
        """[pools], 0 for a pool without observations. Always recomputed from the whole window,
        never carried forward: it is then a function of the saved state, to the bit."""
        self.seen = np.zeros(len(names), dtype=np.int64)
        """[pools] observations ever made."""
        self._length = length
        self._recent = [deque[float](maxlen=length) for _ in names]

    @property
    def held(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """[pools] observations in the window."""
        return np.minimum(self.seen, self._length)

    def add(self, observations: Iterable[tuple[str, Sequence[float]]]) -> None:
        """Take in pairs of a pool and its new observations, in order."""
        touched = set()
        for name, values in observations:
            position = self.index[name]
            self._recent[position].extend(values)
            self.seen[position] += len(values)
            touched.add(position)
        for position in touched:
            self.means[position] = mean(self._recent[position])

    def state(self) -> dict[str, dict[str, Any]]:
        """Pool -> its window and count; JSON keeps each float to the bit."""
        return {
            name: {"recent": list(self._recent[position]), "seen": int(self.seen[position])}
            for name, position in self.index.items()
        }

    def load(self, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """Continue from ``state`` of the same pools; a shorter window keeps the newest."""
        for name, position in self.index.items():
            self._recent[position] = deque(saved[name]["recent"], maxlen=self._length)
            self.seen[position] = saved[name]["seen"]
            self.means[position] = mean(self._recent[position])
