"""The processes of a run, and what they listen on, as Linux tells it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1 and ::1 as /proc/net spells them."""

LISTENING = "0A"


def descendants(process: int) -> list[int]:
    """``process`` and everything that it started, directly or not."""
    found = [process]
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += descendants(int(child))
    return found


def is_alive(process: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def command(process: int) -> str:
    """Its command line; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def listeners(processes: Iterable[int]) -> list[tuple[str, int]]:
    """(address as /proc/net spells it, process) of every TCP socket that listens."""
    owners = {inode: process for process in processes for inode in _sockets(process)}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    return [
        (row[1].partition(":")[0], owners[row[9]])
        for row in rows
        if row[3] == LISTENING and row[9] in owners
    ]


def _sockets(process: int) -> list[str]:
    found = []
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for entry in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):  # it has closed the file
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    found.append(target[len("socket:[") : -1])
    return found
