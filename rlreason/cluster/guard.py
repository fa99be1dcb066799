"""A process that outlives a driver and ends what it left, even after kill -9.

Ray's agents wait a minute for a control service that has died with the driver, and what an engine
started may wait for ever. Every process of a cluster inherits a secret in its environment; whoever
still holds it when the driver is gone is killed. Runs alone: it imports nothing of rlreason.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTLE_S = 1.0
"""Nothing may have come anew for so long."""
POLL_S = 0.1
END_S = 20.0
"""How long to wait for the guard at a usual end."""


@contextmanager
def guarded(secret: str) -> Iterator[None]:
    """Whatever holds ``secret`` in its environment ends with this block or with this process."""
    command = [sys.executable, "-I", "-S", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None, "asked for"
        process.stdin.write(secret.encode() + b"\n")
        process.stdin.flush()
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(END_S)


def main() -> None:
    """Take the secret from the first line, wait for the pipe to close, kill."""
    secret = sys.stdin.buffer.readline().strip()
    sys.stdin.buffer.read()
    quiet = time.monotonic()
    while time.monotonic() < quiet + SETTLE_S:
        if kill_holders(secret):
            quiet = time.monotonic()
        time.sleep(POLL_S)


def kill_holders(secret: bytes) -> int:
    """Kill every process with ``secret`` in its environment; how many were there."""
    count = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if secret in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
    return count


if __name__ == "__main__":
    main()
