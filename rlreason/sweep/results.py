"""Reads what finished trials measured: which held-out problem was right, at which version.

A value that an ``infra`` fault hides is taken from the evaluation before (or, at the start, after)
it, and counted.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from rlreason import jsonl
from rlreason.errors import DataError

_COLUMNS = ["pool", "problem_id", "greedy_correct", "num_samples", "num_correct"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """One finished trial's held-out measurements."""

    name: str
    arm: str
    seed: int
    versions: tuple[int, ...]
    """Evaluated policy versions, ascending from 0: a version is also a number of steps."""
    tokens: tuple[int, ...]
    """Completion tokens sampled in training before each version."""
    problems: Mapping[str, tuple[str, ...]]
    """Pool -> ids of its held-out problems, sorted."""
    correct: Mapping[str, np.ndarray]
    """Pool -> [versions, problems] in [0, 1]."""
    num_filled: int
    """Values that an infra fault had hidden."""

    def curve(self, pools: Sequence[str]) -> np.ndarray:
        """[versions]: mean over ``pools`` of each pool's accuracy."""
        return np.mean([self.correct[pool].mean(axis=1) for pool in pools], axis=0)


def read_trial(folder: Path, *, arm: str, seed: int, measure: str = "greedy") -> TrialResult:
    """The measurements of the finished run in ``folder``.

    Raises:
        DataError: If its evaluations do not all cover the same problems, or one of them was never
            scored.
    """
    rows = [json.loads(line) for line in jsonl.read_lines(folder / "evaluations.jsonl")]
    versions = tuple(sorted(row["version"] for row in rows))
    tables = [_read(folder / "evaluations" / f"{version:06d}.parquet") for version in versions]
    place = {pool: index for index, pool in enumerate(dict.fromkeys(pool for pool, _ in tables[0]))}
    keys = sorted(tables[0], key=lambda key: (place[key[0]], key[1]))  # pools as in the recipe
    for version, table in zip(versions, tables, strict=True):
        if table.keys() != tables[0].keys():
            raise DataError(f"{folder}: versions {versions[0]} and {version} differ in problems")
    values = np.array([[_value(table[key], measure) for key in keys] for table in tables])
    hidden = int(np.isnan(values).sum())
    never = [keys[index] for index in np.flatnonzero(np.isnan(values).all(axis=0))]
    if never:
        raise DataError(f"{folder}: no evaluation has a score for {never[:3]}; see its log")
    filled = _filled(values) if hidden else values
    pools = {pool: [i for i, key in enumerate(keys) if key[0] == pool] for pool, _ in keys}
    return TrialResult(
        name=folder.name,
        arm=arm,
        seed=seed,
        versions=versions,
        tokens=_tokens(folder, versions),
        problems={pool: tuple(keys[i][1] for i in where) for pool, where in pools.items()},
        correct={pool: filled[:, where] for pool, where in pools.items()},
        num_filled=hidden,
    )


def _read(path: Path) -> dict[tuple[str, str], Mapping[str, Any]]:
    try:
        rows = pq.read_table(path, columns=_COLUMNS).to_pylist()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return {(row["pool"], row["problem_id"]): row for row in rows}


def _value(row: Mapping[str, Any], measure: str) -> float:
    if measure == "sampled":
        return row["num_correct"] / row["num_samples"] if row["num_samples"] else np.nan
    return np.nan if row["greedy_correct"] is None else float(row["greedy_correct"])


def _filled(values: np.ndarray) -> np.ndarray:
    """Each gap takes the last value above it, and gaps at the top the first value below."""
    filled = values.copy()
    for row in range(1, len(filled)):
        gaps = np.isnan(filled[row])
        filled[row, gaps] = filled[row - 1, gaps]
    for row in range(len(filled) - 2, -1, -1):
        gaps = np.isnan(filled[row])
        filled[row, gaps] = filled[row + 1, gaps]
    return filled


def _tokens(folder: Path, versions: Sequence[int]) -> tuple[int, ...]:
    rows = [json.loads(line) for line in jsonl.read_lines(folder / "metrics.jsonl")]
    sampled = [0, *itertools.accumulate(row["rollout_tokens"] for row in rows)]
    return tuple(sampled[version] for version in versions)
