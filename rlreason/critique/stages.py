"""Runs stages one after the other, and leaves out those whose inputs did not change.

A stage leaves one Parquet file (``artifacts.py``) whose provenance holds the hash of its inputs:
its part of the configuration, hashes of data and weights, and the files of the stages that it
reads. A stage that was killed half-way finds what it had stored and goes on from there.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from rlreason.critique.artifacts import Provenance, read_provenance
from rlreason.critique.records import stable_hash
from rlreason.critique.stage_display import StageDisplay

StageName = Literal["seeds", "candidates", "critiques", "filter", "train", "evaluate", "report"]
STAGES: tuple[StageName, ...] = get_args(StageName)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage: what it depends on and how it is done."""

    name: StageName
    reads: tuple[StageName, ...]
    """Earlier stages whose files it reads."""
    inputs: Mapping[str, Any]
    """JSON-ready: everything else that its result depends on."""
    make: Callable[[Path, Provenance], None]
    """Writes the file, or goes on with what a killed attempt left, and then writes it."""


def run_stages(
    stages: Sequence[Stage], folder: Path, *, until: StageName, display: StageDisplay
) -> list[StageName]:
    """Bring the stages' files up to date, up to ``until``; returns the stages that were run."""
    folder.mkdir(parents=True, exist_ok=True)
    done: list[StageName] = []
    for number, stage in enumerate(stages, start=1):
        path = stage_file(folder, stage.name)
        expected = input_hash(stage, folder)
        if is_up_to_date(path, expected):
            display.message(f"stage {number}/{len(STAGES)} {stage.name}: unchanged, kept")
        else:
            logger.info("stage %s: inputs %s", stage.name, expected)
            display.begin(stage.name, number, len(STAGES))
            stage.make(
                path,
                Provenance(stage=stage.name, input_hash=expected, config=dict(stage.inputs)),
            )
            display.end()
            done.append(stage.name)
        if stage.name == until:
            break
    return done


def pending(stages: Sequence[Stage], folder: Path, *, until: StageName) -> list[StageName]:
    """The stages up to ``until`` that may have something to do: the first whose inputs changed,
    and all behind it, as its new file may change theirs."""
    names = [stage.name for stage in stages]
    if until in names:
        stages = stages[: names.index(until) + 1]
    for index, stage in enumerate(stages):
        provenance = read_provenance(stage_file(folder, stage.name))
        if provenance is None or provenance.input_hash != input_hash(stage, folder):
            return [stage.name for stage in stages[index:]]
    return []


def stage_file(folder: Path, name: StageName) -> Path:
    """Where the stage's file lies."""
    return folder / f"{name}.parquet"


def input_hash(stage: Stage, folder: Path) -> str:
    """Hash of all that the stage's result depends on; the files that it reads must be there."""
    files = {name: file_digest(stage_file(folder, name)) for name in stage.reads}
    return stable_hash(stage.name, dict(stage.inputs), files)


def is_up_to_date(path: Path, expected: str) -> bool:
    """Whether the file is there, whole, and made from these inputs."""
    provenance = read_provenance(path)
    if provenance is None or provenance.input_hash != expected:
        return False
    try:
        pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        logger.warning("%s is damaged (%s); its stage is run again", path, error)
        return False
    return True


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_digest(model: Path | str) -> str:
    """Hash of a local model's files; a hub name stands for itself."""
    if isinstance(model, str):
        return model
    files = sorted(path for path in model.iterdir() if path.is_file())
    return stable_hash([(path.name, file_digest(path)) for path in files])
