"""The shapes that an answer can have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from rewards.mathematics.syntax import Node


@dataclass(frozen=True, slots=True)
class Unit:
    """A product of powers of named dimensions, and its size in the table's own units."""

    factor: Fraction
    powers: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number or an expression, with its unit if it names one."""

    node: Node
    unit: Unit | None = None
    is_unit_guessed: bool = False
    """Whether the unit is one letter that may as well be a factor: ``5m``."""
    otherwise: Scalar | None = None
    """A second way to read the same text: ``5 m`` is five metres or five times m."""


@dataclass(frozen=True, slots=True)
class Words:
    """Prose, compared letter by letter without case."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers. Bare lists and sets have no order; the others have."""

    kind: Literal["list", "set", "(", "["]
    items: tuple[Answer, ...]
    otherwise: Answer | None = None
    """A second way to read the same text: ``100,200`` may be one number."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One interval; a closed one with equal ends is a point."""

    low: Node
    low_closed: bool
    high: Node
    high_closed: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A union of intervals, of the variable that it names if it names one."""

    pieces: tuple[Piece, ...]
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of expressions."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """An equation or inequality that is more than a name and its value: left - right, compared."""

    operator: Literal["=", "<", "<=", "!="]
    difference: Node


@dataclass(frozen=True, slots=True)
class Labeled:
    """``x = value``; ``relation`` is the same as an equation where it is one."""

    names: tuple[str, ...]
    value: Answer
    relation: Relation | None = None


Answer = Scalar | Words | Group | Region | Matrix | Relation | Labeled


def with_variable(region: Region, variable: str | None) -> Region:
    """``region`` as one of that variable."""
    return replace(region, variable=variable)
