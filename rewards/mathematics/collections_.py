"""Sets, tuples and lists: what stands between brackets, and bare lists joined by "or"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rewards.mathematics.answers import Answer, Group, Labeled, Region
from rewards.mathematics.limits import MOST_ITEMS, TooMuchError, UnreadableError
from rewards.mathematics.tokens import Token, split

Reader = Callable[[Sequence[Token]], Answer]
_PAIRS = {"(": ")", "[": "]", "\\{": "\\}", "\\langle": "\\rangle"}


def enclosed(tokens: Sequence[Token], read_item: Reader) -> Answer | None:
    """A set, tuple or vector; None for brackets around one expression."""
    opening, inside = tokens[0].text, tokens[1:-1]
    if _PAIRS.get(opening) != tokens[-1].text:
        return None
    parts = [part for part in split(inside, ",", ";") if part]
    if len(parts) > MOST_ITEMS:
        raise TooMuchError("too many items")
    if opening == "\\{":
        return Group("set", flatten([read_item(part) for part in parts]))
    if opening == "\\langle":
        return Group("(", tuple(read_item(part) for part in parts))
    if len(parts) > 1:
        return Group("(" if opening == "(" else "[", tuple(read_item(part) for part in parts))
    return None


def flatten(items: Sequence[Answer]) -> tuple[Answer, ...]:
    """``items`` with the members of bare lists among them in place of the lists."""
    flat: list[Answer] = []
    for item in items:
        flat.extend(item.items if isinstance(item, Group) and item.kind == "list" else [item])
    if len(flat) > MOST_ITEMS:
        raise TooMuchError("too many items")
    return tuple(flat)


def union(parts: Sequence[Answer]) -> Answer:
    """Alternatives: regions of one variable unite, anything else is a list."""
    if not parts:
        raise UnreadableError("nothing to read")
    if len(parts) == 1:
        return parts[0]
    regions = [part for part in parts if isinstance(part, Region)]
    if len(regions) == len(parts) and len({region.variable for region in regions}) == 1:
        pieces = tuple(piece for region in regions for piece in region.pieces)
        return Region(pieces, regions[0].variable)
    return Group("list", flatten(_with_names(parts)))


def _with_names(parts: Sequence[Answer]) -> list[Answer]:
    """``x = 2 or 3`` names the other alternatives as well."""
    first = parts[0]
    if not isinstance(first, Labeled) or any(isinstance(part, Labeled) for part in parts[1:]):
        return list(parts)
    return [first, *(Labeled(first.names, part) for part in parts[1:])]
