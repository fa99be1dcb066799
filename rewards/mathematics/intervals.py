r"""Intervals, their unions, and the inequalities that say the same.

Pieces with real ends are sorted and joined, so ``[0,1)\cup[1,2]`` is ``[0,2]``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cmp_to_key

from rewards.mathematics import numeric
from rewards.mathematics.answers import Answer, Group, Piece, Region, Scalar, with_variable
from rewards.mathematics.expressions import parse
from rewards.mathematics.limits import UnreadableError
from rewards.mathematics.syntax import Node, constant, negative
from rewards.mathematics.tokens import Token, is_enclosed, split

INFINITY = constant("oo")
MINUS_INFINITY = negative(INFINITY)
EVERYTHING = Region((Piece(MINUS_INFINITY, False, INFINITY, False),))
EMPTY = Region(())

Reader = Callable[[Sequence[Token]], Answer]


def read_region(tokens: Sequence[Token], read_item: Reader) -> Region | None:
    """A union of intervals; None for what a tuple or an expression could be as well."""
    if len(tokens) == 1 and tokens[0].is_command("reals", "emptyset"):
        return EVERYTHING if tokens[0].text == "reals" else EMPTY
    minus = tokens[0].is_command("reals") and len(tokens) > 1 and tokens[1].is_mark("-")
    without = [tokens[:1], tokens[2:]] if minus else split(tokens, "setminus")
    if len(without) == 2:
        return _difference(_region(read_item(without[0])), _region(read_item(without[1])))
    parts = split(tokens, "cup")
    if len(parts) > 1:
        regions = [_region(read_item(part)) for part in parts]
        return Region(tuple(piece for region in regions for piece in region.pieces))
    if _is_half_open(tokens):
        low, high = (parse(part) for part in split(tokens[1:-1], ",", ";"))
        return Region((Piece(low, tokens[0].text == "[", high, tokens[-1].text == "]"),))
    return _builder(tokens, read_item)


def _is_half_open(tokens: Sequence[Token]) -> bool:
    if not is_enclosed(tokens) or (tokens[0].text, tokens[-1].text) not in (("(", "]"), ("[", ")")):
        return False
    return len(split(tokens[1:-1], ",", ";")) == 2


def _builder(tokens: Sequence[Token], read_item: Reader) -> Region | None:
    r"""``\{x \mid x > 2\}`` and ``\{x \in \mathbb{R} : x > 2\}``."""
    if not is_enclosed(tokens) or tokens[0].text != "\\{":
        return None
    parts = split(tokens[1:-1], "|", ":")
    if len(parts) != 2 or not parts[0] or parts[0][0].kind not in ("letter", "command"):
        return None
    if len(parts[0]) > 1 and not (parts[0][1].is_command("in") and parts[0][-1].text == "reals"):
        return None
    region = read_item(parts[1])
    return with_variable(region, None) if isinstance(region, Region) else None


def to_region(answer: Answer) -> Region | None:
    """``answer`` as a set of numbers, if it can be one."""
    if isinstance(answer, Region):
        return answer
    if isinstance(answer, Scalar) and answer.unit is None:
        return Region((Piece(answer.node, True, answer.node, True),))
    if isinstance(answer, Group):
        return _pair(answer) if answer.kind in ("(", "[") else _members(answer)
    return None


def _members(group: Group) -> Region | None:
    if group.kind == "set" and any(isinstance(item, Region) for item in group.items):
        return None  # a set whose member is a set
    regions = [to_region(item) for item in group.items]
    if any(region is None for region in regions):
        return None
    return Region(tuple(piece for region in regions if region for piece in region.pieces))


def _pair(group: Group) -> Region | None:
    if len(group.items) != 2:
        return None
    low, high = group.items
    if not (isinstance(low, Scalar) and isinstance(high, Scalar)) or low.unit or high.unit:
        return None
    closed = group.kind == "["
    return Region((Piece(low.node, closed, high.node, closed),))


def _region(answer: Answer) -> Region:
    region = to_region(answer)
    if region is None:
        raise UnreadableError("a union of what is no set of numbers")
    return region


def _difference(whole: Region, removed: Region) -> Region:
    if whole != EVERYTHING or any(piece.low != piece.high for piece in removed.pieces):
        raise UnreadableError("a difference of sets that is not all but some points")
    return all_but([piece.low for piece in joined(removed).pieces])


def all_but(points: Sequence[Node]) -> Region:
    """The real line without ``points``, which are in ascending order."""
    ends = [MINUS_INFINITY, *points, INFINITY]
    pairs = itertools.pairwise(ends)
    return Region(tuple(Piece(low, False, high, False) for low, high in pairs))


def both(parts: Sequence[Answer]) -> Region | None:
    """Conditions on one variable hold together; those that cannot are alternatives.

    None when ``parts`` are not all conditions on the same variable.
    """
    regions = [part for part in parts if isinstance(part, Region)]
    variables = {region.variable for region in regions}
    ends = [end for region in regions for piece in region.pieces for end in (piece.low, piece.high)]
    if len(regions) < len(parts) or len(variables) != 1 or None in variables:
        return None
    if any(numeric.real_value(end) is None for end in ends):
        return None
    together = list(regions[0].pieces)
    for region in regions[1:]:
        crossed = [_intersection(left, right) for left in together for right in region.pieces]
        together = [piece for piece in crossed if _holds_something(piece)]
    everything = tuple(piece for region in regions for piece in region.pieces)
    return Region(tuple(together) or everything, regions[0].variable)


def _intersection(left: Piece, right: Piece) -> Piece:
    low = max(left, right, key=cmp_to_key(_by_low))
    high = min(left, right, key=cmp_to_key(_by_high))
    same_low, same_high = numeric.equal(left.low, right.low), numeric.equal(left.high, right.high)
    return Piece(
        low.low,
        left.low_closed and right.low_closed if same_low else low.low_closed,
        high.high,
        left.high_closed and right.high_closed if same_high else high.high_closed,
    )


def _holds_something(piece: Piece) -> bool:
    order = _order(piece.low, piece.high)
    return order < 0 or (order == 0 and piece.low_closed and piece.high_closed)


def _by_low(left: Piece, right: Piece) -> int:
    return _order(left.low, right.low)


def _by_high(left: Piece, right: Piece) -> int:
    return _order(left.high, right.high)


def _order(left: Node, right: Node) -> int:
    values = numeric.real_value(left), numeric.real_value(right)
    if None in values:
        raise UnreadableError("ends that cannot be ordered")
    return 0 if numeric.equal(left, right) else (-1 if values[0] < values[1] else 1)


def joined(region: Region) -> Region:
    """Sorted pieces, with those that touch made one; as it is when an end is not a real number.

    Raises:
        UnreadableError: If a piece ends before it starts.
    """
    ends = [end for piece in region.pieces for end in (piece.low, piece.high)]
    if any(numeric.real_value(end) is None for end in ends):
        return region
    result: list[Piece] = []
    for piece in sorted(region.pieces, key=cmp_to_key(_before)):
        backwards = _order(piece.low, piece.high)
        if backwards > 0 or (backwards == 0 and not (piece.low_closed and piece.high_closed)):
            raise UnreadableError("an interval that ends before it starts")
        if result and _touch(result[-1], piece):
            result[-1] = _merged(result[-1], piece)
        else:
            result.append(piece)
    return Region(tuple(result), region.variable)


def _before(left: Piece, right: Piece) -> int:
    return _order(left.low, right.low) or right.low_closed - left.low_closed


def _touch(left: Piece, right: Piece) -> bool:
    order = _order(left.high, right.low)
    return order > 0 or (order == 0 and (left.high_closed or right.low_closed))


def _merged(left: Piece, right: Piece) -> Piece:
    order = _order(left.high, right.high)
    closed = (left.high_closed or right.high_closed) if order == 0 else None
    longer = left if order >= 0 else right
    return Piece(
        left.low, left.low_closed, longer.high, longer.high_closed if closed is None else closed
    )
