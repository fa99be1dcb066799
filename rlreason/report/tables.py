"""A table that its reader can sort by a click on a heading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlreason.pool_words import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is shown, and what it is sorted by."""

    text: str
    sort: float | None = None
    """None sorts by the text, or last among numbers."""
    is_number: bool = True
    bar: float | None = None
    """In [0, 1]: length of a bar behind the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A column's name; ``hint`` is shown when one points at it."""

    text: str
    hint: str
    is_number: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SortableTable:
    """Headings and rows; ``top`` rows stay on top whatever is sorted."""

    id: str
    title: str
    note: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    top: tuple[tuple[Cell, ...], ...] = ()


def words(text: str) -> Cell:
    """A cell that is no number."""
    return Cell(text=text, is_number=False)


def number(value: float | None, shown: str = "", *, largest: float | None = None) -> Cell:
    """A number, or a dash; with ``largest`` it has a bar of its share of that.

    ``shown`` is a format; without one there are three digits.
    """
    if value is None:
        return Cell(text="-")
    bar = None if largest is None else min(1.0, max(0.0, value / largest)) if largest > 0 else 0.0
    return Cell(text=shown.format(value) if shown else plain(value), sort=value, bar=bar)


def headings(columns: Sequence[tuple[str, str]]) -> tuple[Heading, ...]:
    """Name and hint of each column; the first holds words."""
    return tuple(
        Heading(text=text, hint=hint, is_number=index > 0)
        for index, (text, hint) in enumerate(columns)
    )
