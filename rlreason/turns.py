"""Learner and engine on one GPU that does not hold both at work: they take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rlreason.protocols import Learner
from rlreason.types import Coefficients, TrainBatch, TrainSequence, UpdateStats

if TYPE_CHECKING:
    from torch import Tensor


class SharingLearner(Learner, Protocol):
    """A learner that can give back what it does not need between updates."""

    def release_memory(self) -> None:
        """Leave no more on the GPU than rests there between updates."""
        ...


class TurnTakingLearner:
    """Keeps protocols.Learner; the engine sleeps while the learner computes.

    The engine wakes by itself at its next request or publication. Whatever only reads or writes
    weights goes on beside it.
    """

    def __init__(self, learner: SharingLearner, sleep: Callable[[], None]) -> None:
        """Share a GPU with an engine that ``sleep`` sends to sleep; it may sleep already."""
        self._learner, self._sleep = learner, sleep

    def update(
        self,
        batches: Sequence[TrainBatch],
        *,
        step: int,
        coefficients: Coefficients | None = None,
    ) -> UpdateStats:
        """Update while the engine sleeps; see protocols.Learner."""
        self._sleep()
        stats = self._learner.update(batches, step=step, coefficients=coefficients)
        self._learner.release_memory()
        return stats

    def reference_logprobs(self, sequences: Sequence[TrainSequence]) -> list[tuple[float, ...]]:
        """A forward of every sequence while the engine sleeps."""
        self._sleep()
        logprobs = self._learner.reference_logprobs(sequences)
        self._learner.release_memory()
        return logprobs

    def check_sampler(self, sequences: Sequence[TrainSequence], *, version: int) -> float:
        """A forward of every sequence while the engine sleeps."""
        self._sleep()
        gap = self._learner.check_sampler(sequences, version=version)
        self._learner.release_memory()
        return gap

    def refresh_reference(self) -> None:
        """Make the current weights the reference."""
        self._learner.refresh_reference()

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """What engines are given."""
        return self._learner.named_tensors()

    def export_policy(self, folder: Path) -> None:
        """Write what transformers and vLLM load."""
        self._learner.export_policy(folder)

    def export_adapter(self, folder: Path) -> None:
        """Write the adapter as peft loads it; nothing where none is trained."""
        self._learner.export_adapter(folder)

    def save(self, folder: Path) -> None:
        """Write optimizer, random state and a refreshed reference."""
        self._learner.save(folder)

    def load(self, folder: Path) -> None:
        """Continue from ``save``'s folder; the optimizer's state is built by an empty update."""
        self._sleep()
        self._learner.load(folder)
        self._learner.release_memory()

    def digests(self) -> dict[str, str]:
        """SHA-256 of the whole state."""
        return self._learner.digests()
