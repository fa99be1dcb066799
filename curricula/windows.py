"""The newest observations of every pool: what several curricula remember, with its exact state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


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
        self._ring = np.zeros((len(names), length))
        """[pools, length]; observation i of a pool stands at i modulo length, until overwritten."""

    @property
    def held(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """[pools] observations in the window."""
        return np.minimum(self.seen, self._length)

    def add(self, observations: Iterable[tuple[str, Sequence[float]]]) -> None:
        """Take in pairs of a pool and its new observations, in order."""
        touched = {self._push(self.index[name], values) for name, values in observations}
        self._average(sorted(touched))

    def state(self) -> dict[str, dict[str, Any]]:
        """Pool -> its window, oldest first, and count; JSON keeps each float to the bit."""
        return {
            name: {
                "recent": self._ring[position, self._places(position, int(held))].tolist(),
                "seen": int(self.seen[position]),
            }
            for (name, position), held in zip(self.index.items(), self.held, strict=True)
        }

    def load(self, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """Continue from ``state`` of the same pools; a shorter window keeps the newest."""
        self._ring[:] = 0.0
        for name, position in self.index.items():
            recent = saved[name]["recent"]
            self.seen[position] = saved[name]["seen"] - len(recent)
            self._push(position, recent)
        self._average(list(self.index.values()))

    def _push(self, position: int, values: Sequence[float]) -> int:
        self.seen[position] += len(values)
        newest = values[-self._length :]
        self._ring[position, self._places(position, len(newest))] = newest
        return position

    def _places(self, position: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Where the newest ``count`` observations of a pool stand, oldest first."""
        end = int(self.seen[position])
        return np.arange(end - count, end) % self._length

    def _average(self, positions: list[int]) -> None:
        sums = self._ring[positions].sum(axis=1)
        self.means[positions] = sums / np.maximum(self.held[positions], 1)
