"""Starts a trial as a process that cannot outlive whoever started it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def start_trial(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a process group of its own, its output at the end of ``log``.

    The kernel kills it when the caller's thread ends, however that ends: the journal makes that
    safe, and a killed sweep leaves nothing behind that holds a GPU or a lock. Call it from a
    thread that lives as long as the trial may.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            env=os.environ | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is the sweep's to handle
            preexec_fn=die_with_parent,
        )


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM: the run finishes its step, saves and leaves."""
    if process.poll() is None:
        process.terminate()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the trial and all that it started, now."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
