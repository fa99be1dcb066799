"""Everything that a run continues from: saved whole, verified before use, old ones pruned.

The learner's part may hold pickles (DeepSpeed's shards), so a checkpoint is loaded only if it is
byte for byte what was saved and if its files belong to the user who runs this.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rlreason
from rlreason.atomic import (
    SCHEMA,
    commit_folder,
    folder_numbers,
    numbered_folder,
    remove_folder,
    verify_manifest,
)
from rlreason.errors import CheckpointError, TrainingStopped
from rlreason.faults import fault_point
from rlreason.protocols import Learner

POLICY = "policy"
ADAPTER = "adapter"
LEARNER = "learner"
STATE = "state.json"

MAX_MISSES = 3
"""Saves in a row that may fail for want of space before the run stops."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_FULL_BELOW = 1 << 20
"""Free bytes under which a failed write is put down to the full disk, whatever it raised."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was found valid."""

    version: int
    """Policy version, and the next step."""
    folder: Path
    state: Mapping[str, Any]
    """What the trainer gave: curriculum, cursors, counters."""
    digests: Mapping[str, str]
    """SHA-256 of parameters and optimizer when it was saved."""

    @property
    def policy(self) -> Path:
        """The policy, as transformers and vLLM load it."""
        return self.folder / POLICY

    @property
    def adapter(self) -> Path:
        """Its adapter alone, as peft and vLLM load it; there only where one was trained."""
        return self.folder / ADAPTER

    def part(self, name: str) -> Any:
        """The state of one part of the run.

        Raises:
            CheckpointError: If it was saved without one.
        """
        if name not in self.state:
            raise CheckpointError(
                f"checkpoint {self.folder}: {STATE} holds no state of {name!r}, so it was saved by "
                "another version of rlreason; continue with that version, or start anew with "
                "--fresh"
            )
        return self.state[name]


class Checkpointer:
    """The checkpoints of a run, in ``folder``."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self._folder = folder
        self._keep = keep
        self._misses = 0
        self._needed = 0
        self._valid: dict[int, bool] = {}
        """What this process knows already, so that pruning does not hash old ones every time."""

    def save(self, version: int, *, learner: Learner, state: Mapping[str, Any]) -> bool:
        """Save ``version`` and prune older ones; False when the disk had no room for it.

        Raises:
            TrainingStopped: If there was no room for the third time in a row.
        """
        try:
            self._commit(version, learner, state)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            self._miss(version, error)
            return False
        self._misses = 0
        self._valid[version] = True
        self._prune(version)
        return True

    def _commit(self, version: int, learner: Learner, state: Mapping[str, Any]) -> None:
        with commit_folder(
            numbered_folder(self._folder, version),
            extra={"version": version},
            before_rename=partial(fault_point, "checkpoint", version),
        ) as folder:
            try:
                with _full_disk_as_oserror(folder):
                    _write(folder, version, learner, state)
            finally:
                self._needed = max(self._needed, _num_bytes(folder))

    def newest(self) -> Checkpoint | None:
        """The newest valid checkpoint; damaged ones are logged, with the reason, and passed over.

        Raises:
            CheckpointError: If it belongs to another user.
        """
        for version in reversed(folder_numbers(self._folder)):
            checkpoint = self.at(version)
            if checkpoint is not None:
                return checkpoint
        return None

    def at(self, version: int) -> Checkpoint | None:
        """The checkpoint of ``version`` if it is there and valid; else the log says why not.

        Raises:
            CheckpointError: If it belongs to another user.
        """
        folder = numbered_folder(self._folder, version)
        problems = verify_manifest(folder)
        if not problems:
            _check_owner(folder)
            checkpoint = _read(version, folder)
            if isinstance(checkpoint, Checkpoint):
                self._valid[version] = True
                return checkpoint
            problems = [checkpoint]
        self._valid[version] = False
        logger.warning("checkpoint %s is passed over: %s", folder, "; ".join(problems))
        return None

    def load_into(self, checkpoint: Checkpoint, learner: Learner) -> None:
        """Bring ``learner`` to the checkpoint, and prove that it got there.

        Raises:
            CheckpointError: If the files are not what was saved or not this user's (nothing was
                loaded then), or if the learner ends with other parameters or optimizer state.
        """
        _check_owner(checkpoint.folder)
        problems = verify_manifest(checkpoint.folder)
        if problems:
            raise CheckpointError(
                f"checkpoint {checkpoint.folder}: {'; '.join(problems)}; move it away, and the "
                "same command continues from the one before"
            )
        learner.load(checkpoint.folder / LEARNER)
        reached = learner.digests()
        names = sorted({*reached, *checkpoint.digests})
        different = [name for name in names if reached.get(name) != checkpoint.digests.get(name)]
        if different:
            raise CheckpointError(
                f"checkpoint {checkpoint.folder}: after loading, the learner's "
                f"{' and '.join(different)} differ in SHA-256 from what was saved; was it saved "
                "with other versions of torch or deepspeed?"
            )

    def _miss(self, version: int, error: OSError) -> None:
        self._misses += 1
        earlier = [numbered_folder(self._folder, number) for number in folder_numbers(self._folder)]
        free = shutil.disk_usage(self._folder).free
        # What was not enough bounds the need from below: a library may drop its part as it fails.
        needed = max([free, self._needed, *map(_num_bytes, earlier)])
        message = (
            f"checkpoint {version} was not saved, the disk of {self._folder} is full: it needs "
            f"at least {needed} bytes, {free} are free; earlier "
            f"checkpoints stay as they are ({self._misses} of {MAX_MISSES} misses in a row)"
        )
        logger.error(message)
        if self._misses >= MAX_MISSES:
            raise TrainingStopped(
                f"{message}; free some space, then the same command continues"
            ) from error

    def _prune(self, newest: int) -> None:
        """Remove valid checkpoints beyond ``keep``; damaged ones stay for whoever looks into it."""
        kept = 0
        for version in reversed(folder_numbers(self._folder)):
            if not self._is_valid(version):
                continue
            kept += 1
            if kept > self._keep and version != newest:
                remove_folder(numbered_folder(self._folder, version))
                del self._valid[version]

    def _is_valid(self, version: int) -> bool:
        if version not in self._valid:
            self._valid[version] = not verify_manifest(numbered_folder(self._folder, version))
        return self._valid[version]


def _write(folder: Path, version: int, learner: Learner, state: Mapping[str, Any]) -> None:
    for name in (POLICY, LEARNER):
        (folder / name).mkdir()
    learner.export_policy(folder / POLICY)
    learner.export_adapter(folder / ADAPTER)
    learner.save(folder / LEARNER)
    fields = {
        "schema": SCHEMA,
        "rlreason": rlreason.__version__,
        "version": version,
        "digests": learner.digests(),
        "state": dict(state),
    }
    (folder / STATE).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


def _read(version: int, folder: Path) -> Checkpoint | str:
    """The checkpoint of a folder with a valid manifest, or why it is none."""
    try:
        fields = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if fields["version"] != version:
            return f"{STATE} says that it is version {fields['version']}"
        return Checkpoint(
            version=version, folder=folder, state=fields["state"], digests=fields["digests"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{STATE} is not one: {error!r}"


def _check_owner(folder: Path) -> None:
    mine = os.getuid()
    for path in (folder, *folder.rglob("*")):
        owner = path.lstat().st_uid
        if owner != mine:
            raise CheckpointError(
                f"checkpoint {folder}: {path.name} belongs to user id {owner}, this process runs "
                f"as {mine}; it holds pickles, which can run code when loaded: if you trust its "
                f"origin, make it yours (chown -R), else start anew with --fresh"
            )


@contextmanager
def _full_disk_as_oserror(folder: Path) -> Iterator[None]:
    """Turn a full disk into the OSError that it is.

    Torch raises an error that names no cause but leaves the disk full; safetensors frees the space
    and says in its text alone what it was.
    """
    try:
        yield
    except Exception as error:
        chain = [error, error.__cause__, error.__context__]
        told = any(isinstance(one, OSError) and one.errno in _NO_SPACE for one in chain)
        told = told or os.strerror(errno.ENOSPC) in str(error)
        if told or shutil.disk_usage(folder).free < _FULL_BELOW:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


def _num_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
