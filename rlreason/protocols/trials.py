"""The seam of a sweep: where its trials run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class TrialBackend(Protocol):
    """Where the trials of a sweep run, each as a process of its own."""

    @property
    def slots(self) -> int:
        """Trials at once."""
        ...

    def start(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        """Start a trial; its output goes to the end of ``log``. Called while a slot is free."""
        ...

    def ended(self) -> Mapping[str, int]:
        """Name -> exit code of the trials that ended since the last call; negative: a signal."""
        ...

    def stop(self) -> None:
        """Ask every running trial to save and leave; returns at once."""
        ...

    def close(self) -> None:
        """End what still runs, with all that it started."""
        ...
