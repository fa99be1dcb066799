"""Plain rows as a stage's Parquet file, beside the records of ``artifacts.py``."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlreason.atomic import replace_file
from rlreason.critique.artifacts import Provenance
from rlreason.types import Problem


def write_table(
    path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, provenance: Provenance
) -> None:
    """Write ``rows``, so that a crash leaves the old file or the new one."""
    facts = json.dumps(asdict(provenance), sort_keys=True)
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"rlreason": facts}), buffer, compression="zstd")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue())


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that ``write_table`` wrote."""
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


SEEDS = pa.schema(
    [
        ("pool", pa.string()),
        ("problem_id", pa.string()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("metadata", pa.string()),
        ("pass_rate", pa.float64()),
    ]
)
"""The seed problems; ``pass_rate`` where it was measured."""

CHECKPOINTS = pa.schema(
    [
        ("method", pa.string()),
        ("group", pa.string()),
        ("seed", pa.int64()),
        ("update", pa.int64()),
        ("policy", pa.string()),
        ("digest", pa.string()),
        ("loss", pa.float64()),
    ]
)
"""What the trainings left behind."""

RESULTS = pa.schema(
    [
        ("number", pa.int64()),
        ("method", pa.string()),
        ("group", pa.string()),
        ("seed", pa.int64()),
        ("update", pa.int64()),
        ("digest", pa.string()),
        ("loss", pa.float64()),
        ("validation", pa.float64()),
        ("test", pa.float64()),
        ("test_low", pa.float64()),
        ("test_high", pa.float64()),
        ("leak_frac", pa.float64()),
        ("verdict_accuracy", pa.float64()),
        ("selected", pa.bool_()),
        ("examined", pa.string()),
        ("detail", pa.string()),
    ]
)
"""One row per policy, the untrained model first (method ``base``); ``examined``, and of
selected policies ``detail``, hold everything measured, as JSON."""


def seed_row(problem: Problem, pass_rate: float | None) -> dict[str, Any]:
    """A seed problem as a row."""
    return {
        "pool": problem.pool,
        "problem_id": problem.id,
        "prompt": json.dumps(problem.prompt),
        "answer": problem.answer,
        "metadata": json.dumps(dict(problem.metadata)),
        "pass_rate": pass_rate,
    }


def seed_problem(row: Mapping[str, Any]) -> Problem:
    """The problem that ``seed_row`` wrote."""
    prompt = json.loads(row["prompt"])
    return Problem(
        id=row["problem_id"],
        pool=row["pool"],
        prompt=prompt if isinstance(prompt, str) else tuple(prompt),
        answer=row["answer"],
        metadata=json.loads(row["metadata"]),
    )
