"""What is wrong with a recipe, in its own terms: line, dotted field, value, rule, nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from rlreason.config import NAME_PATTERN

Location = tuple[str | int, ...]
"""Where a value is: ``("pools", 0, "name")``."""


class Origin(NamedTuple):
    """Where a value was written."""

    order: int
    """Line number; overrides come after every line."""
    label: str
    """``line 14`` or ``override 'x=y'``."""


class Mistake(NamedTuple):
    """One line of a message, and its place among the others."""

    order: int
    text: str


def describe(
    error: ValidationError,
    root: type[BaseModel],
    data: dict[str, Any],
    origins: dict[Location, Origin],
) -> list[Mistake]:
    """A line for each thing that pydantic found in ``data``, read as ``root``."""
    items = error.errors()
    faulty = {item["loc"][:-1] for item in items} | {item["loc"][:-2] for item in items}
    mistakes = []
    for item in items:
        location = item["loc"]
        if item["type"] == "too_short" and location in faulty:
            continue  # counts only the valid items; the invalid ones have lines of their own
        origin = origin_of(location, origins)
        where = f"{origin.label}: " if origin.label else ""
        mistakes.append(Mistake(origin.order, where + _reason(item, root, dotted(location, data))))
    return mistakes


def _reason(error: Any, root: type[BaseModel], field: str) -> str:
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return f"{field}: unknown field{_nearest_field(root, error['loc'])}"
    if kind == "missing":
        return f"{field}: required, and missing"
    reason = error["msg"].removeprefix("Value error, ")
    if kind == "value_error" and isinstance(value, dict):
        return reason  # a rule between fields names them itself
    if kind in ("model_type", "dict_type"):
        reason = "should be a mapping of fields"
    elif kind == "string_type" and isinstance(value, int | float):
        reason += "; quote it"
    return f"{field} = {shown(value)}: {reason}"


def origin_of(location: Location, origins: dict[Location, Origin]) -> Origin:
    """Where the field was written, or the closest thing around it, or the first thing in it."""
    for length in range(len(location), 0, -1):
        if location[:length] in origins:
            return origins[location[:length]]
    inside = [origin for where, origin in origins.items() if where[: len(location)] == location]
    return inside[0] if inside and location else Origin(0, "")


def dotted(location: Location, data: Any) -> str:
    """``pools.add3.held_out``: list items by name where they have one, else ``pools[3]``."""
    field, at = "", data
    for part in location:
        try:
            at = at[part]
        except (KeyError, IndexError, TypeError):
            at = None
        if isinstance(part, int):
            name = at.get("name") if isinstance(at, dict) else None
            usable = isinstance(name, str) and NAME_PATTERN.fullmatch(name)
            field += f".{name}" if usable else f"[{part}]"
        else:
            field += f".{part}"
    return field.removeprefix(".")


def nearest(name: str, known: Sequence[str]) -> str:
    """``; did you mean ...?``, or all that is known."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def model_at(root: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """The model that describes the section at ``location``; None where there is none."""
    model: type[BaseModel] | None = root
    for part in location:
        if isinstance(part, int):
            continue  # an item of a list has the model of the list
        field = model.model_fields.get(part) if model else None
        annotation = field.annotation if field else None
        kinds = [annotation, *get_args(annotation)]
        model = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
    return model


def shown(value: Any) -> str:
    """``value`` for a message, in YAML's words, cut to a line."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    text = "null" if value is None else text
    return text if len(text) <= 80 else f"{text[:77]}..."


def _nearest_field(root: type[BaseModel], location: Location) -> str:
    """The nearest name in the same section, else the same name in another one."""
    name = str(location[-1])
    model = model_at(root, location[:-1])
    known = sorted(model.model_fields) if model else []
    if not difflib.get_close_matches(name, known, n=1):
        for section in root.model_fields:
            other = model_at(root, (section,))
            if other and name in other.model_fields:
                return f"; did you mean '{section}.{name}'?"
    return nearest(name, known)
