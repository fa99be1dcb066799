"""Reads JSON Lines byte by byte, so that one broken line costs one row and not the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from rlreason.data.faults import BadRowError
from rlreason.data.rows import ColumnOptions, faulty_row, map_row

MAX_LINE_BYTES = 4 * 2**20
"""A longer line is skipped unread: even all in escapes, the longest legal prompt takes 1.2 MB."""


class JsonlSource:
    """Rows of a ``.jsonl`` file: one JSON object per line, blank lines ignored."""

    def __init__(self, path: Path, options: ColumnOptions) -> None:
        self._path = path
        self._options = options

    def read(self) -> Iterator[dict[str, Any]]:
        """Rows in the order of the file; lines count from 1, as editors count them."""
        num_rows = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(_lines(file), start=1):
                if line is not None and not line.strip():
                    continue
                if num_rows == self._options.limit:
                    return
                num_rows += 1
                origin = f"{self._path.name} line {number}"
                try:
                    yield map_row(_parse(line), self._options, origin)
                except BadRowError as fault:
                    yield faulty_row(origin, fault.kind, fault.detail)


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Every line of the file; None stands for one longer than MAX_LINE_BYTES."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield None


def _parse(line: bytes | None) -> dict[str, Any]:
    if line is None:
        raise BadRowError("line too long", f"more than {MAX_LINE_BYTES} bytes")
    try:
        # "-sig": editors on some systems put a byte order mark in front.
        value = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x} at column {error.start + 1}"
        raise BadRowError("bad UTF-8", byte) from None
    except (ValueError, RecursionError) as error:  # ValueError: also integers of 4300 digits
        raise BadRowError("broken JSON", f"{error}"[:120]) from None
    if not isinstance(value, dict):
        raise BadRowError("wrong type", f"the line is a JSON {type(value).__name__}, not an object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
