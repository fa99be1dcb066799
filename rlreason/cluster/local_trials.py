"""Trials of a sweep as processes of this machine, one per slot."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlreason.cluster.trial_process import ask_to_stop, kill_group, start_trial
from rlreason.config import TrialResourcesSection
from rlreason.errors import ConfigError

_NVIDIA = Path("/proc/driver/nvidia/gpus")


class LocalTrials:
    """A ``TrialBackend`` on this machine."""

    def __init__(self, resources: TrialResourcesSection, slots: int = 0) -> None:
        """Nothing is started yet.

        Args:
            resources: What each trial takes.
            slots: Trials at once; 0: as many as cores and GPUs allow.

        Raises:
            ConfigError: If the machine has fewer GPUs than the slots need.
        """
        gpus = visible_gpus() if resources.gpus else []
        fitting = len(os.sched_getaffinity(0)) // resources.cpus
        if resources.gpus:
            fitting = len(gpus) // resources.gpus
            if fitting < max(slots, 1):
                raise ConfigError(
                    f"resources.gpus = {resources.gpus} for {max(slots, 1)} trials at once, but "
                    f"{len(gpus)} GPUs are visible here; lower slots or resources.gpus"
                )
        self._slots = slots or max(fitting, 1)
        share = resources.gpus
        self._devices = [gpus[share * slot : share * (slot + 1)] for slot in range(self._slots)]
        self._running: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}

    @property
    def slots(self) -> int:
        """Trials at once."""
        return self._slots

    def start(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        """Start a trial in a free slot."""
        taken = {slot for slot, _ in self._running.values()}
        slot = next(slot for slot in range(self._slots) if slot not in taken)
        extra = dict(environment)
        if self._devices[slot]:
            extra["CUDA_VISIBLE_DEVICES"] = ",".join(self._devices[slot])
        self._running[name] = (slot, start_trial(command, log=log, environment=extra))

    def ended(self) -> dict[str, int]:
        """Name -> exit code of the trials that ended since the last call."""
        codes = {name: process.poll() for name, (_, process) in self._running.items()}
        done = {name: code for name, code in codes.items() if code is not None}
        for name in done:
            _, process = self._running.pop(name)
            kill_group(process)  # a trial that crashed may have left children behind
        return done

    def stop(self) -> None:
        """Ask every trial to save and leave."""
        for _, process in self._running.values():
            ask_to_stop(process)

    def close(self) -> None:
        """End what still runs."""
        for _, process in self._running.values():
            kill_group(process)
        self._running.clear()


def visible_gpus() -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` names, else the number of every NVIDIA GPU."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [part for part in re.split(r"[\s,]+", named) if part]
    return [str(number) for number in range(len(list(_NVIDIA.glob("*"))))]
