r"""Matrices and vectors in LaTeX environments, scaled or transposed, and determinants."""

from __future__ import annotations

from collections.abc import Sequence

from rewards.mathematics.answers import Matrix, Scalar
from rewards.mathematics.expressions import parse
from rewards.mathematics.limits import MOST_ITEMS, TooMuchError, UnreadableError
from rewards.mathematics.syntax import Node, add, negative, times
from rewards.mathematics.tokens import Token, closing, split

_MATRICES = frozenset(["matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"])
_LARGEST_DETERMINANT = 4


def is_matrix(tokens: Sequence[Token]) -> bool:
    """Whether an environment opens somewhere in ``tokens``."""
    return any(token.kind == "begin" for token in tokens)


def read_matrix(tokens: Sequence[Token]) -> Matrix | Scalar:
    """One environment, perhaps in brackets, scaled by a factor before it or transposed."""
    start = next(place for place, token in enumerate(tokens) if token.kind == "begin")
    end = closing(tokens, start)
    before, after = list(tokens[:start]), list(tokens[end + 1 :])
    if before and after and before[-1].kind == "open" and after[0].kind == "close":
        before, after = before[:-1], after[1:]
    rows = _rows(tokens[start + 1 : end])
    if tokens[start].text in ("vmatrix",) and not before and not after:
        return Scalar(_determinant(rows))
    if tokens[start].text not in _MATRICES:
        raise UnreadableError(f"{tokens[start].text:.40} is no matrix")
    if after:
        _check_transposed(after)
        rows = list(zip(*rows, strict=True))
    if before and before[-1].is_command("cdot", "times"):
        before.pop()
    if before:
        factor = negative(parse([Token("number", "1")])) if _is_minus(before) else parse(before)
        rows = [tuple(times(factor, entry) for entry in row) for row in rows]
    return Matrix(tuple(rows))


def _is_minus(tokens: Sequence[Token]) -> bool:
    return len(tokens) == 1 and tokens[0].is_mark("-")


def _check_transposed(after: Sequence[Token]) -> None:
    names = [token.text for token in after if token.text not in ("{", "}")]
    if names not in (["^", "T"], ["^", "top"], ["^", "intercal"]):
        raise UnreadableError("something behind a matrix")


def _rows(tokens: Sequence[Token]) -> list[tuple[Node, ...]]:
    lines = [line for line in split(tokens, "\\", "cr") if line]
    rows = [tuple(parse(cell) for cell in split(line, "&")) for line in lines]
    if not rows or len({len(row) for row in rows}) != 1:
        raise UnreadableError("rows of unequal length")
    if len(rows) * len(rows[0]) > MOST_ITEMS:
        raise TooMuchError("too many entries")
    return rows


def _determinant(rows: Sequence[Sequence[Node]]) -> Node:
    if len(rows) != len(rows[0]) or len(rows) > _LARGEST_DETERMINANT:
        raise UnreadableError("no determinant")
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for place, entry in enumerate(rows[0]):
        minor = [[*row[:place], *row[place + 1 :]] for row in rows[1:]]
        term = times(entry, _determinant(minor))
        terms.append(negative(term) if place % 2 else term)
    return add(*terms)
