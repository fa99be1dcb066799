"""Reads Parquet files and Hugging Face datasets: both are Arrow tables with named columns.

Only the columns that the options ask for are read. No code of a dataset is ever run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from rlreason.data.rows import ColumnOptions, closest, faulty_row, map_row
from rlreason.errors import ConfigError, DataError

_BATCH_ROWS = 1024


class DatasetsOptions(ColumnOptions):
    """Options of a Hugging Face dataset."""

    split: str = Field(default="train", min_length=1)
    """Split of the dataset."""
    subset: str | None = None
    """Configuration of a hub dataset that has several ("main" for openai/gsm8k)."""
    revision: str | None = None
    """Commit or tag of a hub dataset, so that a later upload changes nothing."""


class ParquetSource:
    """Rows of a ``.parquet`` file, counted from 1."""

    def __init__(self, path: Path, options: ColumnOptions, *, where: str) -> None:
        self._path = path
        self._options = options
        try:
            columns = pq.read_schema(path).names
        except pa.ArrowException as error:
            raise DataError(f"{where}.source: {path} is not a parquet file: {error}") from None
        self._columns = options.present(columns, where=where, label=path.name)

    def read(self) -> Iterator[dict[str, Any]]:
        """Rows in the order of the file."""
        with pq.ParquetFile(self._path) as file:
            batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=self._columns)
            yield from islice(_rows(batches, self._options, self._path.name), self._options.limit)


class DatasetsSource:
    """Rows of a dataset in the ``datasets`` library's format: a saved folder or a hub name."""

    def __init__(self, name: str, options: DatasetsOptions, *, where: str) -> None:
        self._name = name
        self._options = options
        dataset = _load(name, options, where)
        columns = options.present(dataset.column_names, where=where, label=name)
        self._dataset = dataset.select_columns(columns).with_format("arrow")

    def read(self) -> Iterator[dict[str, Any]]:
        """Rows in the order of the dataset, counted from 1."""
        batches = self._dataset.iter(batch_size=_BATCH_ROWS)
        yield from islice(_rows(batches, self._options, self._name), self._options.limit)


def _load(name: str, options: DatasetsOptions, where: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError:
        raise ConfigError(
            f"{where}.source = 'datasets:{name}' needs the package datasets: "
            "pip install 'rlreason[datasets]'"
        ) from None
    folder = Path(name)
    saved = [folder / "dataset_info.json", folder / "dataset_dict.json"]
    try:
        if any(file.is_file() for file in saved):
            return _saved_split(datasets.load_from_disk(name), name, options, where)
        # trust_remote_code is never passed: a dataset is data.
        return datasets.load_dataset(
            name, options.subset, split=options.split, revision=options.revision
        )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{where}.source = 'datasets:{name}' (split {options.split!r}, subset "
            f"{options.subset!r}, revision {options.revision!r}) does not load: {error}"
        ) from error


def _saved_split(saved: Any, name: str, options: DatasetsOptions, where: str) -> Any:
    for option in ("subset", "revision"):
        if getattr(options, option) is not None:
            raise ConfigError(
                f"{where}.options.{option}: {name} is a saved folder, and only a hub dataset "
                f"has one; remove the option"
            )
    if not isinstance(saved, dict):
        split = str(saved.split) if saved.split is not None else options.split
        if "split" in options.model_fields_set and split != options.split:
            raise ConfigError(f"{where}.options.split = {options.split!r}: {name} holds {split!r}")
        return saved
    if options.split not in saved:
        raise ConfigError(
            f"{where}.options.split = {options.split!r}: {name} has no such split"
            f"{closest(options.split, saved.keys())}"
        )
    return saved[options.split]


def _rows(
    batches: Iterator[pa.RecordBatch | pa.Table], options: ColumnOptions, label: str
) -> Iterator[dict[str, Any]]:
    number = 0
    for batch in batches:
        for raw in _raw_rows(batch):
            number += 1
            origin = f"{label} row {number}"
            if isinstance(raw, UnicodeDecodeError):
                byte = f"byte 0x{raw.object[raw.start]:02x} at position {raw.start + 1}"
                yield faulty_row(origin, "bad UTF-8", byte)
            else:
                yield map_row(raw, options, origin)


def _raw_rows(
    batch: pa.RecordBatch | pa.Table,
) -> Iterator[dict[str, Any] | UnicodeDecodeError]:
    """The rows of a batch; one that holds bad UTF-8 is given as its error."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass  # Arrow checks text only when it is taken out, and says of a batch, not of a row
    for index in range(batch.num_rows):
        try:
            yield batch.slice(index, 1).to_pylist()[0]
        except UnicodeDecodeError as error:
            yield error
