"""The run folder: where everything of one run lives, owned by one process at a time.

``RunFolder(path)`` alone only knows names, so that reports and evaluations can read a run that is
under way. ``open`` is for the process that trains: it takes the lock, and holds it until ``close``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rlreason.atomic import clean_leftovers, replace_file
from rlreason.config import NAME_PATTERN
from rlreason.config_changes import config_changes, in_words, refused_changes
from rlreason.errors import ConfigError, RunLockedError

LOCK = ".lock"
OWNER = ".lock-owner.json"
FOLDERS = ("steps", "checkpoints", "evaluations", "log")

LOGGED = ("rlreason", "vllm", "DeepSpeed")
"""Loggers whose records go to the attempt's log file."""

_ATTEMPT = re.compile(r"attempt_([0-9]+)\.log")

logger = logging.getLogger(__name__)


class RunFolder:
    """Names inside a run folder; after ``open``, also its owner."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.jsonl"
        self.evaluations_file = path / "evaluations.jsonl"
        self.report_file = path / "report.html"
        self.steps = path / "steps"
        self.checkpoints = path / "checkpoints"
        self.evaluations = path / "evaluations"
        self.log = path / "log"
        self.resumed = False
        """Whether ``open`` found a run to continue."""
        self.changes: dict[str, tuple[Any, Any]] = {}
        """Dotted field -> (before, now) of what the continued run was given anew."""
        self.attempt = 0
        """How often this run was started, this time included."""
        self._held = contextlib.ExitStack()

    def open(
        self,
        config: BaseModel,
        *,
        config_text: str,
        fresh: bool = False,
        all_may_change: bool = False,
    ) -> Self:
        """Take the folder for this process: make it, lock it, check that the run is the same one.

        Args:
            config: The resolved configuration.
            config_text: The same as YAML: becomes ``config.yaml``.
            fresh: Move a run that is there to ``NAME.old-TIME`` and start anew.
            all_may_change: Any field may differ from the run that is there: for runs whose stages
                see for themselves which of them a change undoes.

        Raises:
            RunLockedError: If another process holds the folder.
            ConfigError: If the folder cannot be written, leads elsewhere, is no run folder, or
                holds a run with another configuration.
        """
        try:
            self._check_place()
            self._check_contents()
            self._take(fresh)
            self._continue_or_start(config, config_text, all_may_change)
            self._open_log()
        except OSError as error:
            self.close()
            raise ConfigError(
                f"run folder {self.path}: {error}; make it readable and writable, or choose "
                "another place with run.folder"
            ) from error
        except BaseException:
            self.close()
            raise
        return self

    def refused_changes(self, config: BaseModel) -> str:
        """What ``open`` would refuse to change in the run that is there, in words; or nothing."""
        if not self.config_file.exists():
            return ""
        changes = config_changes(self._earlier(type(config)), config)
        return in_words(refused_changes(changes, config))

    def close(self) -> None:
        """Give the folder free."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_place(self) -> None:
        """Names that climb and links that lead out of the folder above are refused (S7)."""
        if not NAME_PATTERN.fullmatch(self.path.name):
            raise ConfigError(
                f"run.name = {self.path.name!r}: a name has 1 to 128 letters, digits, '.', '_' or "
                "'-' and starts with a letter or digit"
            )
        root = self.path.parent.resolve()
        if not self.path.resolve().is_relative_to(root):
            raise ConfigError(
                f"run folder {self.path} is a link to {self.path.resolve()}, out of {root}; remove "
                "the link or choose another run.name"
            )
        for entry in self.path.iterdir() if self.path.is_dir() else ():
            if not entry.resolve().is_relative_to(self.path.resolve()):
                raise ConfigError(
                    f"{entry} is a link to {entry.resolve()}, out of the run folder; a run keeps "
                    "all its files inside: move the folder itself with run.folder instead"
                )

    def _take(self, fresh: bool) -> None:
        self._lock()
        if fresh and self.config_file.exists():
            self._set_aside()
            self._lock()
        for name in FOLDERS:
            (self.path / name).mkdir(exist_ok=True)
        for parent in (self.path, *(self.path / name for name in FOLDERS)):
            clean_leftovers(parent)

    def _check_contents(self) -> None:
        """A folder of something else is neither filled nor, with ``fresh``, moved away."""
        if not self.path.exists() or self.config_file.exists():
            return
        known = {LOCK, OWNER, *FOLDERS}
        # A start that was killed leaves temporary names beside the known ones.
        names = [entry.name for entry in self.path.iterdir() if ".tmp-" not in entry.name]
        foreign = [name for name in names if name not in known]
        foreign += [name for name in FOLDERS[:2] if any(self.path.glob(f"{name}/*"))]
        if foreign:
            raise ConfigError(
                f"run folder {self.path} holds {', '.join(sorted(foreign)[:5])}, but no "
                "config.yaml: it is no run that could be continued; choose another run.name"
            )

    def _lock(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        owner_file = self.path / OWNER
        try:
            # Not thread-local: whichever thread closes the run releases the lock.
            self._held.enter_context(FileLock(self.path / LOCK, timeout=0, thread_local=False))
        except Timeout:
            raise RunLockedError(
                f"run folder {self.path} is held by {_owner_in_words(owner_file)}; wait until it "
                "ends, stop it, or choose another run.name"
            ) from None
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        replace_file(owner_file, json.dumps(owner) + "\n")

    def _set_aside(self) -> None:
        """Rename the old run. Its lock stays held: a process that waits for it must not win it."""
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        old = self.path.with_name(f"{self.path.name}.old-{time}")
        self.path.rename(old)
        logger.warning("the earlier run was moved to %s", old)

    def _continue_or_start(self, config: BaseModel, config_text: str, all_may_change: bool) -> None:
        self.resumed = self.config_file.exists()
        if self.resumed:
            self.changes = config_changes(self._earlier(type(config)), config)
            refused = {} if all_may_change else refused_changes(self.changes, config)
            if refused:
                raise ConfigError(
                    f"{self.config_file}: this run was started with another configuration:\n"
                    f"{in_words(refused)}\n"
                    "give these fields their old values to continue it, start anew with --fresh "
                    "(the old run is kept under another name), or choose another run.name"
                )
        if self.changes or not self.resumed:
            replace_file(self.config_file, config_text)

    def _earlier(self, kind: type[BaseModel]) -> BaseModel:
        """The configuration that the run was started with."""
        try:
            values = YAML(typ="safe", pure=True).load(self.config_file.read_text(encoding="utf-8"))
            return kind.model_validate(values)
        except (YAMLError, UnicodeDecodeError, ValidationError) as error:
            raise ConfigError(
                f"{self.config_file} cannot be compared with this run's configuration: {error}; "
                "it was edited or written by another version: start anew with --fresh, or choose "
                "another run.name"
            ) from error

    def _open_log(self) -> None:
        numbers = [_ATTEMPT.fullmatch(entry.name) for entry in self.log.iterdir()]
        self.attempt = 1 + max((int(found[1]) for found in numbers if found), default=0)
        handler = logging.FileHandler(self.log / f"attempt_{self.attempt}.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        package = logging.getLogger("rlreason")
        if package.level == logging.NOTSET:
            package.setLevel(logging.INFO)
        for name in LOGGED:
            logging.getLogger(name).addHandler(handler)
            self._held.callback(logging.getLogger(name).removeHandler, handler)
        self._held.callback(handler.close)
        if self.changes:
            logger.warning("the run continues with changed fields:\n%s", in_words(self.changes))


def _owner_in_words(owner_file: Path) -> str:
    try:
        owner = json.loads(owner_file.read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process (it left no note of its pid)"
