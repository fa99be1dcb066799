"""What an evaluation found for each problem, as a parquet file: ``evaluations/000020.parquet``.

The file is for people and notebooks (which problems turned right, what the model wrote); no part
of a run reads it back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemResult:
    """One held-out problem in one evaluation."""

    version: int
    pool: str
    problem_id: str
    greedy_correct: bool | None
    """None where an infra fault hides it."""
    greedy_completion: str
    greedy_tokens: int
    greedy_finish_reason: str
    greedy_outcome: str
    greedy_score: float
    num_samples: int
    """Samples with a score."""
    num_correct: int
    """Correct ones among them."""
    num_infra: int
    """Completions, the greedy one included, that infra faults left without a score."""
    mean_sample_tokens: float | None
    """Over all samples; None without any."""


_SCHEMA = pa.schema(
    [
        ("version", pa.int64()),
        ("pool", pa.string()),
        ("problem_id", pa.string()),
        ("greedy_correct", pa.bool_()),
        ("greedy_completion", pa.string()),
        ("greedy_tokens", pa.int64()),
        ("greedy_finish_reason", pa.string()),
        ("greedy_outcome", pa.string()),
        ("greedy_score", pa.float64()),
        ("num_samples", pa.int64()),
        ("num_correct", pa.int64()),
        ("num_infra", pa.int64()),
        ("mean_sample_tokens", pa.float64()),
    ]
)


def write_results(path: Path, results: Sequence[ProblemResult]) -> None:
    """Write the whole file or none of it: an evaluation cut off leaves no half of a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in results], _SCHEMA), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    entry = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(entry)  # the rename itself
    finally:
        os.close(entry)
