"""What each stage leaves behind: one Parquet file, written whole, that says where it comes from.

    write_rows(path, candidates, Provenance(...))
    rows, provenance = read_rows(path, Candidate)

A file is there complete or not at all (``atomic.replace_file``). Its schema metadata holds the hash
of the stage's inputs, so that a stage whose inputs did not change can be skipped.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

import rlreason
from rlreason.atomic import replace_file
from rlreason.critique.records import Candidate, CritiqueExample, TeacherResponse
from rlreason.errors import CheckpointError
from rlreason.types import Problem

Row = TypeVar("Row", Candidate, TeacherResponse, CritiqueExample)

_KEY = b"rlreason"
_ARROW = {
    "str": pa.string(),
    "str | None": pa.string(),
    "DropReason | None": pa.string(),
    "int": pa.int64(),
    "int | None": pa.int64(),
    "float": pa.float64(),
    "float | None": pa.float64(),
    "bool": pa.bool_(),
    "bool | None": pa.bool_(),
}
_PROBLEM = [
    pa.field(name, pa.string()) for name in ("pool", "problem_id", "prompt", "answer", "metadata")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the rows of a file come from."""

    stage: str
    input_hash: str
    """Hash of everything that the stage read: inputs and its part of the configuration."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The stage's part of the configuration, JSON-ready; it never holds a credential."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """What came in and what went out, for the report."""
    version: str = rlreason.__version__
    """Of the code that wrote the file."""


def write_rows(path: Path, rows: Sequence[Row], kind: type[Row], provenance: Provenance) -> None:
    """Write ``rows`` of ``kind``, so that a crash leaves the old file or the new one."""
    names = [item.name for item in fields(kind)]
    columns: dict[str, list[Any]] = {name: [] for name in _schema(kind).names}
    for row in rows:
        columns["id"].append(row.id)
        for name in names:
            value = getattr(row, name)
            flat = _flat_problem(value) if name == "problem" else {name: value}
            for column, item in flat.items():
                columns[column].append(item)
    table = pa.Table.from_pydict(columns, schema=_schema(kind))
    table = table.replace_schema_metadata({_KEY: json.dumps(asdict(provenance), sort_keys=True)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue())


def read_rows(path: Path, kind: type[Row]) -> tuple[list[Row], Provenance]:
    """The rows of ``path`` and where they come from.

    Raises:
        CheckpointError: If the file is not one that ``write_rows`` wrote for ``kind``.
    """
    try:
        table = pq.read_table(path)
        provenance = _provenance(table.schema)
        if not table.schema.equals(_schema(kind)):
            raise ValueError(f"its columns are {table.schema.names}")
        return [_row(kind, raw) for raw in table.to_pylist()], provenance
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: does not hold rows of {kind.__name__} ({error}); remove it, and its stage "
            "is run again"
        ) from None


def read_provenance(path: Path) -> Provenance | None:
    """Where the rows of ``path`` come from; None if there is no such file or it is damaged."""
    try:
        return _provenance(pq.read_schema(path))
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _schema(kind: type[Any]) -> pa.Schema:
    columns = [pa.field("id", pa.string())]
    for item in fields(kind):
        if item.name == "problem":
            columns += _PROBLEM
        else:
            columns.append(pa.field(item.name, _ARROW[str(item.type)]))
    return pa.schema(columns)


def _provenance(schema: pa.Schema) -> Provenance:
    return Provenance(**json.loads((schema.metadata or {})[_KEY]))


def _flat_problem(problem: Problem) -> dict[str, str | None]:
    return {
        "pool": problem.pool,
        "problem_id": problem.id,
        "prompt": json.dumps(problem.prompt),
        "answer": problem.answer,
        "metadata": json.dumps(dict(problem.metadata)),
    }


def _row(kind: type[Any], raw: dict[str, Any]) -> Any:
    expected = raw.pop("id")
    if "problem_id" in raw:
        prompt = json.loads(raw.pop("prompt"))
        raw["problem"] = Problem(
            id=raw.pop("problem_id"),
            pool=raw.pop("pool"),
            prompt=prompt if isinstance(prompt, str) else tuple(prompt),
            answer=raw.pop("answer"),
            metadata=json.loads(raw.pop("metadata")),
        )
    row = kind(**raw)
    if row.id != expected:
        raise ValueError(f"row {expected} does not have the content that its id is the hash of")
    return row
