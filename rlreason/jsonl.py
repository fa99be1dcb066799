"""Files of one JSON object per line that survive a kill at any byte.

A row is appended in one write and synced, so only the last line can be torn; the next start drops
it. Rewriting goes through a temporary file and a rename.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from rlreason.errors import CheckpointError


def read_lines(path: Path) -> list[str]:
    """The complete rows of ``path``, as text; none if there is no file.

    A torn last line is left out.

    Raises:
        CheckpointError: If another line is not a JSON object: appending cannot have made it.
    """
    if not path.exists():
        return []
    lines = [line for line in path.read_bytes().split(b"\n") if line]
    for number, line in enumerate(lines, start=1):
        if _is_object(line):
            continue
        if number == len(lines):
            return [kept.decode() for kept in lines[:-1]]
        raise CheckpointError(
            f"{path.name} line {number}: not a JSON object: {line[:60]!r}; the file was changed "
            "by something else; restore it or move it away"
        )
    return [line.decode() for line in lines]


def rewrite(path: Path, lines: Iterable[str]) -> None:
    """Replace ``path`` by ``lines``: afterwards it holds either all the old or all the new."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.writelines(line.encode() + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def append(path: Path, line: str) -> None:
    """Add one row; when this returns, it is on the disk."""
    if "\n" in line:
        raise ValueError(f"a row of {path.name} must be one line, got {line!r:.80}")
    with path.open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")
        os.fsync(file.fileno())


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
