"""A local model as a generator or teacher, in a process of its own.

The process ends when it has written its texts, and all of its memory with it: the next generator,
and the training behind it, find the machine as they would without it. It runs
``rlreason.writer_process``; requests go in as one JSON line, replies come out as one line each.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

from rlreason.config import WriterSection
from rlreason.errors import TrainingStopped
from rlreason.redact import redact_text, visible
from rlreason.types import TextReply, TextRequest

PROGRAM = "from rlreason.writer_process import main; main()"

_TAIL_LINES = 12
_LEAVE_LIMIT_S = 30.0

log = logging.getLogger(__name__)


class LocalProcess:
    """Keeps ``protocols.Writer``; a call of ``write`` starts the process and ends it.

    Args:
        section: Its part of the recipe.
        threads: CPU threads; 0: one per core.
        where: That part's dotted path, for messages.
    """

    def __init__(self, section: WriterSection, *, threads: int, where: str) -> None:
        self._section, self._threads, self._where = section, threads, where

    def write(self, requests: Sequence[TextRequest]) -> Iterator[TextReply]:
        """Yield replies as the model finishes them.

        Raises:
            TrainingStopped: If the model cannot be started, or its process ends early.
        """
        log.info("%s: starting %s for %d texts", self._where, self._section.model, len(requests))
        wanted = {
            "section": self._section.model_dump(mode="json"),
            "threads": self._threads,
            "requests": [
                {"key": request.key, "prompt": request.prompt, "seed": request.seed}
                for request in requests
            ],
        }
        with tempfile.TemporaryFile() as output:
            process, replies = _start(output)
            complete = False
            try:
                _send(process, wanted)
                yield from self._read(replies)
                complete = True
            finally:
                replies.close()
                _end(process, waiting_s=_LEAVE_LIMIT_S if complete else 0.0)
            if process.returncode != 0:
                raise TrainingStopped(
                    f"{self._where}: the process of {self._section.model!r} ended with code "
                    f"{process.returncode}; its last lines:\n{_tail(output)}"
                )

    def _read(self, replies: IO[str]) -> Iterator[TextReply]:
        for line in replies:
            message = json.loads(line)
            if "failure" in message:
                raise TrainingStopped(f"{self._where}: {message['failure']}")
            yield TextReply(**message)


def _start(output: IO[bytes]) -> tuple[subprocess.Popen[bytes], IO[str]]:
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, str(theirs)],
        pass_fds=[theirs],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is the driver's to handle
    )
    os.close(theirs)
    return process, os.fdopen(ours, encoding="utf-8")


def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None, "opened as a pipe"
    try:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        log.debug("it died already; its exit code and last lines say why")


def _end(process: subprocess.Popen[bytes], *, waiting_s: float) -> None:
    """Wait for the process to leave, then make it."""
    try:
        process.wait(timeout=waiting_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        assert process.stdin is not None, "opened as a pipe"
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _tail(output: IO[bytes]) -> str:
    output.seek(0)
    lines = output.read().decode("utf-8", "replace").splitlines()
    return redact_text("\n".join(f"  {visible(line)}" for line in lines[-_TAIL_LINES:]))
