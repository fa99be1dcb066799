"""The driver's handle of the process that keeps the reward workers."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from multiprocessing.connection import Connection

from rlreason.errors import PluginError
from rlreason.scoring_messages import Answer, Collect, Collected, Setup, Submit

_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_CLOSE_LIMIT_S = 10.0


class ScoringProcess:
    """Runs ``scoring_supervisor`` and talks to it."""

    def __init__(self, setup: Setup) -> None:
        ours, theirs = socket.socketpair()
        program = "from rlreason.scoring_supervisor import main; main()"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=_environment(),
                start_new_session=True,  # Ctrl-C is the driver's to handle
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._send(setup)

    def submit(self, index: int, task: bytes) -> None:
        self._send(Submit(index=index, task=task))

    def collect(self, count: int) -> list[list[Answer]] | None:
        """Each task's answers in order, or None if the supervisor died."""
        self._send(Collect(count=count))
        try:
            reply: Collected = self._connection.recv()
        except (EOFError, OSError):
            return None
        if reply.failure is not None:
            raise PluginError(f"a reward worker cannot start: {reply.failure}")
        return [json.loads(answer) for answer in reply.answers]

    def close(self) -> None:
        """The end of the pipe tells the supervisor to end the workers and leave."""
        self._connection.close()
        try:
            self._process.wait(timeout=_CLOSE_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Setup | Submit | Collect) -> None:
        try:
            self._connection.send(message)
        except OSError:
            return  # it died; collect() says so, and everything is handed to another


def _environment() -> dict[str, str]:
    """What a worker may know: no secrets; this process's import path; one thread; fixed hashes."""
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return kept | {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
