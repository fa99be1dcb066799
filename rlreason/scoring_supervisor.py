"""Keeps the reward workers: hands out completions, kills what overstays, replaces what dies.

A process of its own between the driver and the workers, started by ``scoring.WorkerScorer``. One
loop, no threads and no locks, so that a limit holds to the millisecond however busy the driver is,
and so that it can adopt (``PR_SET_CHILD_SUBREAPER``) and end whatever a reward leaves behind.

Rules: first in, first out, one completion (or one group, for a reward of groups) per worker at a
time, so none waits behind a hanging one while a worker is free. The limit counts from dispatch. A
worker is ended by killing its process group. Linux only.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from rlreason.scoring_messages import READY, REPLACE, Answer, Collect, Collected, Setup, Submit

_PR_SET_CHILD_SUBREAPER = 36
_START_LIMIT_S = 60.0
_MAX_FAILED_STARTS = 3
_MAX_GENERATIONS = 50
_STUCK_S = 5
"""A worker that stops in the middle of a message holds the loop up this long, and no longer."""
_LONGEST_WAIT_S = 0.25
"""How late a death is noticed that closes no pipe, because a child of the dead holds it open."""


@dataclass(slots=True)
class _Task:
    index: int
    payload: bytes
    killed_before: bool = False


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    since: float
    """When it was started, or when it was handed its task."""
    ready: bool = False
    task: _Task | None = None


class Supervisor:
    """The loop and its state: a queue, the workers, and the answers so far."""

    def __init__(self, driver: Connection, driver_pid: int, setup: Setup) -> None:
        self._driver = driver
        self._driver_pid = driver_pid
        self._setup = setup
        self._queue: deque[_Task] = deque()
        self._workers: list[_Worker] = []
        self._answers: dict[int, bytes] = {}
        self._wanted: int | None = None
        self._failure: str | None = None
        self._failed_starts = 0

    def run(self) -> None:
        """Serve until the driver closes its end or is gone; leave no process behind."""
        try:
            while os.getppid() == self._driver_pid and self._turn():
                pass
        finally:
            for worker in list(self._workers):
                self._end(worker)
            self._end_orphans()

    def _turn(self) -> bool:
        self._start_missing()
        self._dispatch()
        self._report()
        of_connection = {worker.connection: worker for worker in self._workers}
        readable = wait([self._driver, *of_connection], self._patience())
        for connection in readable:
            if connection is not self._driver:
                self._read(of_connection[connection])  # type: ignore[index]
        for worker in list(self._workers):
            if worker.process.poll() is not None and not _has_message(worker.connection):
                self._bury(worker)
            elif time.monotonic() - worker.since >= self._limit(worker):
                self._expire(worker)
        return self._driver not in readable or self._listen()

    def _listen(self) -> bool:
        try:
            message = self._driver.recv()
        except (EOFError, OSError):
            return False
        if isinstance(message, Submit):
            self._queue.append(_Task(message.index, message.task))
        elif isinstance(message, Collect):
            self._wanted = message.count
        return True

    def _report(self) -> None:
        if self._wanted is None:
            return
        if self._failure is not None:
            self._driver.send(Collected(answers=[], failure=self._failure))
        elif len(self._answers) == self._wanted:
            answers = [self._answers[index] for index in range(self._wanted)]
            self._driver.send(Collected(answers=answers))
        else:
            return
        self._wanted = None
        self._answers = {}
        self._end_orphans()

    def _patience(self) -> float:
        now = time.monotonic()
        left = [worker.since + self._limit(worker) - now for worker in self._workers]
        return max(0.0, min([_LONGEST_WAIT_S, *left]))

    def _limit(self, worker: _Worker) -> float:
        if not worker.ready:
            return _START_LIMIT_S
        return self._setup.time_limit_s if worker.task is not None else float("inf")

    def _start_missing(self) -> None:
        while self._failure is None and len(self._workers) < self._setup.workers:
            self._workers.append(_start_worker(self._setup))

    def _dispatch(self) -> None:
        for worker in list(self._workers):
            if not self._queue:
                return
            if not worker.ready or worker.task is not None or worker.process.poll() is not None:
                continue
            worker.task, worker.since = self._queue.popleft(), time.monotonic()
            try:
                worker.connection.send_bytes(worker.task.payload)
            except OSError:  # died, or wedged by a thread that a reward left, before it could read
                self._queue.appendleft(worker.task)
                worker.task = None
                self._bury(worker)

    def _read(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if worker.task is not None:
            self._answers[worker.task.index] = message[1:]
            worker.task = None
            if message.startswith(REPLACE):
                self._end(worker)
        elif message == READY:
            worker.ready, self._failed_starts = True, 0
        else:
            self._failure = message.decode(errors="replace")
            self._end(worker)

    def _expire(self, worker: _Worker) -> None:
        if _has_message(worker.connection):
            return  # finished in the same instant
        task, elapsed = worker.task, time.monotonic() - worker.since
        if task is None:
            self._bury(worker)  # its start took too long
            return
        self._end(worker)
        self._answers[task.index] = _encode(Answer(outcome="timeout", seconds=elapsed))

    def _bury(self, worker: _Worker) -> None:
        """A worker that died by itself: find out what its death means for the task in its hands."""
        task, elapsed = worker.task, time.monotonic() - worker.since
        code = self._end(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                limit = self._setup.memory_limit_bytes / 2**30
                self._failure = (
                    f"reward workers die while they start (exit status {code}); if the reward "
                    "imports large libraries, scoring.memory_limit_gib may be too low with "
                    f"{limit:.2f}"
                )
        elif task is not None and code == -signal.SIGKILL and not task.killed_before:
            # Killed from outside, say for another process's memory: not the completion's doing,
            # unless it happens again.
            task.killed_before = True
            self._queue.appendleft(task)
        elif task is not None:
            message = f"the worker died with exit status {code}"
            self._answers[task.index] = _encode(
                Answer(outcome="crash", seconds=elapsed, message=message)
            )

    def _end(self, worker: _Worker) -> int:
        """Kill a worker with all that it started, and return its exit status."""
        self._workers.remove(worker)
        with suppress(ProcessLookupError):  # the whole group may be gone already
            os.killpg(worker.process.pid, signal.SIGKILL)
        worker.connection.close()
        code = worker.process.wait()
        self._end_orphans()
        return code

    def _end_orphans(self) -> None:
        """Kill what workers left: it became ours when its parent died, and so will its children."""
        workers = {worker.process.pid for worker in self._workers}
        for _ in range(_MAX_GENERATIONS):
            orphans = _children() - workers
            for orphan in orphans:
                os.kill(orphan, signal.SIGKILL)
            for orphan in orphans:
                os.waitpid(orphan, 0)
            if not orphans:
                return


def _start_worker(setup: Setup) -> _Worker:
    ours, theirs = socket.socketpair()
    patience = struct.pack("ll", _STUCK_S, 0)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
    program = "from rlreason.scoring_worker import main; main()"
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", program, str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),  # what a reward prints stays out of the driver's output
        )
    connection = Connection(ours.detach())
    worker = _Worker(process, connection, since=time.monotonic())
    connection.send_bytes(pickle.dumps((setup.specs, setup.memory_limit_bytes)))
    return worker


def _encode(answer: Answer) -> bytes:
    """For every completion of the task."""
    return json.dumps([answer]).encode()


def _has_message(connection: Connection) -> bool:
    try:
        return connection.poll(0)
    except OSError:
        return False


def _children() -> set[int]:
    own = os.getpid()
    return {
        pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) == own
    }


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[1])  # the name before ")" may hold anything


def main() -> None:
    """Serve the driver: ``argv`` is the descriptor of the pipe to it, and its process id."""
    driver = Connection(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    setup: Setup = driver.recv()
    Supervisor(driver, int(sys.argv[2]), setup).run()
