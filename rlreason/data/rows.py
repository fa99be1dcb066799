"""Which columns of a file make a row: the options that JSONL, Parquet and datasets share.

A row is a mapping with ``prompt`` and optionally ``id``, ``answer``, ``metadata``; ``origin`` says
where it stands and ``fault`` (kind, detail) why it could not be read. ``problems.py`` checks rows;
here nothing is judged but the presence of columns.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlreason.errors import ConfigError

_Options = TypeVar("_Options", bound=BaseModel)

PROMPT_COLUMNS = ("prompt", "question", "problem")
"""Where a prompt is looked for when the option ``prompt`` names no column."""


class ColumnOptions(BaseModel):
    """Options of a source whose rows have columns. Null turns a column off."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prompt: str | None = None
    """Column with the prompt, text or messages; null: first of prompt, question, problem."""
    answer: str | None = "answer"
    """Column with the answer."""
    id: str | None = "id"
    """Column with the id; rows without one are named by a hash of their prompt."""
    metadata: str | tuple[str, ...] | None = "metadata"
    """One column that holds a mapping, or a list of columns to be kept in one."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many rows."""

    @property
    def named(self) -> dict[str, str]:
        """Column -> option, of the columns that the recipe names and every row must have."""
        pairs: dict[str, str] = {}
        for option in ("prompt", "answer", "id", "metadata"):
            value = getattr(self, option)
            if option in self.model_fields_set and value is not None:
                pairs.update(dict.fromkeys((value,) if isinstance(value, str) else value, option))
        return pairs

    def prompt_column(self, columns: Collection[str]) -> str | None:
        """The column that holds the prompt, or None if there is none."""
        candidates = (self.prompt,) if self.prompt is not None else PROMPT_COLUMNS
        return next((name for name in candidates if name in columns), None)

    def present(self, columns: Collection[str], *, where: str, label: str) -> list[str]:
        """The columns to read from a table; a named one that it lacks is a mistake.

        Raises:
            ConfigError: Naming the option, the table and the closest column.
        """
        for name, option in self.named.items():
            if name not in columns:
                raise ConfigError(
                    f"{where}.options.{option} = {name!r}: {label} has no such column"
                    f"{closest(name, columns)}"
                )
        prompt = self.prompt_column(columns)
        if prompt is None:
            raise ConfigError(
                f"{where}: {label} has no column {' or '.join(PROMPT_COLUMNS)} (it has "
                f"{', '.join(columns)}); name the prompt's column in {where}.options.prompt"
            )
        extra = (self.metadata,) if isinstance(self.metadata, str) else self.metadata or ()
        wanted = [prompt, self.answer, self.id, *extra]
        return list(dict.fromkeys(name for name in wanted if name in columns and name is not None))


def map_row(raw: Mapping[str, Any], options: ColumnOptions, origin: str) -> dict[str, Any]:
    """``raw`` under the keys of a row; a column that is named but missing makes it a fault."""
    missing = next((name for name in options.named if name not in raw), None)
    prompt = options.prompt_column(raw.keys())
    if missing is not None or prompt is None:
        wanted = repr(missing) if missing is not None else " or ".join(map(repr, PROMPT_COLUMNS))
        keys = ", ".join(f"{key!r:.40}" for key in list(raw)[:8]) or "none"
        return faulty_row(origin, "missing key", f"no {wanted}; the row has {keys}")
    row: dict[str, Any] = {"origin": origin, "prompt": raw[prompt]}
    for key, column in (("answer", options.answer), ("id", options.id)):
        if column is not None and column in raw:
            row[key] = raw[column]
    if isinstance(options.metadata, tuple):
        row["metadata"] = {name: raw[name] for name in options.metadata}
    elif options.metadata is not None and options.metadata in raw:
        row["metadata"] = raw[options.metadata]
    return row


def faulty_row(origin: str, kind: str, detail: str) -> dict[str, Any]:
    """A row that could not be read, with the reason."""
    return {"origin": origin, "fault": (kind, detail)}


def parse_options(model: type[_Options], options: Mapping[str, Any], *, where: str) -> _Options:
    """Fill ``model``, with every mistake named.

    Raises:
        ConfigError: For unknown options (with the closest known one) and wrong values.
    """
    try:
        return model(**options)
    except ValidationError as error:
        mistakes = [_mistake(item, model, where) for item in error.errors()]
        raise ConfigError("; ".join(mistakes)) from None


def _mistake(item: Any, model: type[BaseModel], where: str) -> str:
    name = str(item["loc"][0])
    if item["type"] == "extra_forbidden":
        return f"{where}.options.{name}: unknown option{closest(name, model.model_fields)}"
    return f"{where}.options.{name} = {item['input']!r}: {item['msg']}"


def closest(name: str, known: Collection[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, else all of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if known else ""
