"""A process that outlives a driver and ends what it left, even after kill -9.

Ray's agents wait a minute for a control service that has died with the driver, and what an engine
started may wait for ever. Every process of a cluster inherits a secret in its environment; whoever
still holds it when the driver is gone is killed. A process that gives itself a title, as Ray's do,
may have written it over that; so whoever has a file of the cluster's own folder open goes as well.
Runs alone: it imports nothing of rlreason.
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
def guarded(secret: str, folder: str) -> Iterator[None]:
    """Whatever holds ``secret`` in its environment ends with this block or with this process.

    With this process, also whatever has a file in ``folder`` open.
    """
    command = [sys.executable, "-I", "-S", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None, "asked for"
        process.stdin.write(f"{os.getpid()}\n{secret}\n{folder}\n".encode())
        process.stdin.flush()
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(END_S)


def main() -> None:
    """Take driver, secret and folder from the first lines, wait for the pipe to close, kill."""
    lines = [sys.stdin.buffer.readline() for _ in range(3)]
    if not lines[-1].endswith(b"\n"):
        return  # it died before it had anything to guard; an empty secret would be everybody's
    driver, secret, folder = map(bytes.strip, lines)
    sys.stdin.buffer.read()
    quiet = time.monotonic()
    while time.monotonic() < quiet + SETTLE_S:
        # A driver that lives may itself have such files open.
        if kill_holders(secret, None if os.getppid() == int(driver) else folder):
            quiet = time.monotonic()
        time.sleep(POLL_S)


def kill_holders(secret: bytes, folder: bytes | None) -> int:
    """Kill every process with ``secret`` or a file in ``folder``; how many were there."""
    count = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            has_secret = secret in (entry / "environ").read_bytes()
            if has_secret or (folder is not None and _has_open(entry, folder)):
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
    return count


def _has_open(process: Path, folder: bytes) -> bool:
    for file in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # it has been closed meanwhile
            if os.readlink(bytes(file)).startswith(folder + b"/"):
                return True
    return False


if __name__ == "__main__":
    main()
