r"""Equations, inequalities and chains of them.

A chain must hold: ``x = 2 + 3 = 5`` is 5, ``3 = 4 = 5`` is nothing. Approximations in a chain must
round the exact member; the exact one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from rewards.mathematics import intervals, numeric, units
from rewards.mathematics.answers import (
    Answer,
    Group,
    Labeled,
    Piece,
    Region,
    Relation,
    Scalar,
    Unit,
    with_variable,
)
from rewards.mathematics.expressions import parse
from rewards.mathematics.limits import TooMuchError, UnreadableError
from rewards.mathematics.syntax import Node, divide, negative, number, subtract, symbols_of
from rewards.mathematics.tokens import Token, is_enclosed, split

Reader = Callable[[Sequence[Token]], Answer]
Operator = Literal["=", "<", "<=", "!="]
_EQUAL, _APPROXIMATE = ("=",), ("approx",)
_INEQUALITIES = {"<": "<", "le": "<=", ">": ">", "ge": ">="}
_ALL = ("=", "approx", "<", ">", "le", "ge", "ne", "in", "equiv", "to", "rightarrow", "implies",
        "Rightarrow", "iff", "Leftrightarrow", "mapsto", "longrightarrow", "notin")  # fmt: skip
_TWO_MARKS = {("<", "="): "le", (">", "="): "ge", ("!", "="): "ne"}


def is_relation(tokens: Sequence[Token]) -> bool:
    """Whether a relation sign stands outside of brackets."""
    return len(split(tokens, *_ALL)) > 1


def read_relation(tokens: Sequence[Token], read_item: Reader) -> Answer:
    """The answer that a relation states.

    Raises:
        UnreadableError: The chain does not hold, or mixes signs in a way that states nothing.
    """
    parts, signs = _cut(tokens)
    if set(signs) <= {"=", "approx"}:
        return _chain(parts, signs, read_item)
    if signs == ["in"]:
        return _membership(parts, read_item)
    if signs == ["ne"]:
        return _unequal(parts)
    if set(signs) <= set(_INEQUALITIES):
        return _inequality(parts, [_INEQUALITIES[sign] for sign in signs])
    raise UnreadableError("signs that state nothing together")


def _cut(tokens: Sequence[Token]) -> tuple[list[tuple[Token, ...]], list[str]]:
    joined: list[Token] = []
    for token in tokens:
        pair = (joined[-1].text, token.text) if joined and token.kind == "mark" else None
        if pair in _TWO_MARKS and joined[-1].kind == "mark":
            joined[-1] = Token("command", _TWO_MARKS[pair])
        else:
            joined.append(token)
    parts = split(joined, *_ALL)
    signs: list[str] = []
    place = 0
    for part in parts[:-1]:
        place += len(part)
        signs.append(joined[place].text)
        place += 1
    if not parts[0] and signs == ["approx"]:  # "about 3.14" commits to 3.14
        return [parts[1]], []
    if not all(parts):
        raise UnreadableError("a relation without a side")
    return parts, signs


def _names(tokens: Sequence[Token]) -> tuple[str, ...] | None:
    """Names on the left of a definition: ``x``, ``f(x)``, ``(x, y)``."""
    if is_enclosed(tokens) and tokens[0].text == "(":
        names = [_names(part) for part in split(tokens[1:-1], ",")]
        single = [name[0] for name in names if name is not None and len(name) == 1]
        return tuple(single) if len(single) == len(names) > 1 else None
    name = tokens
    if all(token.kind == "text" or token.is_command("angle", "triangle") for token in tokens[:1]):
        return _spelled_name(tokens)
    if len(tokens) > 3 and tokens[0].kind == "letter" and is_enclosed(tokens[1:]):
        name = tokens[:1]  # f(x), f(2)
    if len(name) > 1 and name[0].word and len(name[0].word) == len(name):
        return ("".join(token.text for token in name),)  # a word: Area = 5
    try:
        node = parse(name)
    except (UnreadableError, TooMuchError):
        return None
    return (str(node.value),) if node.kind == "symbol" else None


def _spelled_name(tokens: Sequence[Token]) -> tuple[str, ...] | None:
    r"""``\text{Area}`` and ``\angle ABC``."""
    kinds = {token.kind for token in tokens[1:]} if tokens else {"mark"}
    hedges = any(units.is_refused(word) for token in tokens for word in token.text.split())
    return None if hedges or kinds - {"text", "letter"} else (" ".join(t.text for t in tokens),)


def _chain(parts: list[tuple[Token, ...]], signs: list[str], read_item: Reader) -> Answer:
    if not signs:
        return read_item(parts[0])
    names = _names(parts[0])
    if names is None and signs == ["="]:
        names = _names(parts[1])
        if names is None or symbols_of(parse(parts[0])):
            return _equation(parts)
        parts = parts[::-1]
    values = [read_item(part) for part in (parts[1:] if names else parts)]
    exact = _agreeing(values, signs[1:] if names else signs)
    if names is None:
        return exact
    return Labeled(names, exact, _relation(parts) if len(parts) == 2 else None)


def _agreeing(values: Sequence[Answer], signs: Sequence[str]) -> Answer:
    """The exact member of a chain whose members agree."""
    exact = values[0]
    for value, sign in zip(values[1:], signs, strict=True):
        if not isinstance(value, Scalar) or not isinstance(exact, Scalar):
            raise UnreadableError("a chain of what is no number")
        if sign == "approx":
            if not _rounds(_plain(exact), _plain(value)):
                raise UnreadableError("an approximation that is off")
        elif not numeric.equal(_plain(exact), _plain(value)):
            raise UnreadableError("a chain whose members differ")
        exact = Scalar(exact.node, exact.unit or _unit_of_chain(value))
    return exact


def _unit_of_chain(value: Scalar) -> Unit | None:
    return None if value.unit == units.PERCENT else value.unit


def _plain(value: Scalar) -> Node:
    return divide(value.node, number(100)) if value.unit == units.PERCENT else value.node


def _rounds(exact: Node, rounded: Node) -> bool:
    values = numeric.real_value(exact), numeric.real_value(rounded)
    return None not in values and abs(values[0] - values[1]) <= abs(values[0]) / 100


def _equation(parts: Sequence[Sequence[Token]]) -> Answer:
    left, right = (parse(part) for part in parts)
    if symbols_of(left) | symbols_of(right):
        return Relation("=", subtract(left, right))
    if not numeric.equal(left, right):
        raise UnreadableError("an equation that is false")
    return Scalar(right)


def _relation(parts: Sequence[Sequence[Token]]) -> Relation | None:
    try:
        left, right = (parse(part) for part in parts)
    except UnreadableError:
        return None
    return Relation("=", subtract(left, right))


def _membership(parts: Sequence[Sequence[Token]], read_item: Reader) -> Answer:
    names = _names(parts[0])
    if names is None:
        raise UnreadableError("a member that is no name")
    value = read_item(parts[1])
    region = intervals.to_region(value) if isinstance(value, Group) else value
    if isinstance(region, Region) and not (isinstance(value, Group) and value.kind == "set"):
        return with_variable(region, names[0])
    return Labeled(names, value)


def _unequal(parts: Sequence[Sequence[Token]]) -> Answer:
    names = _names(parts[0])
    right = parse(parts[1])
    if names and not symbols_of(right):
        return with_variable(intervals.all_but([right]), names[0])
    return _compared("!=", parts)


def _absolute(parts: Sequence[Sequence[Token]], closed: bool) -> Region | None:
    """``|x| < a`` and ``a < |x|`` as intervals of x."""
    left, right = (parse(part) for part in parts)
    inner = next((side for side in (left, right) if side.value == "abs"), None)
    bound = right if inner is left else left
    if inner is None or inner.args[0].kind != "symbol" or symbols_of(bound):
        return None
    name, opposite = str(inner.args[0].value), negative(bound)
    if inner is left:
        return Region((Piece(opposite, closed, bound, closed),), name)
    below = Piece(intervals.MINUS_INFINITY, False, opposite, closed)
    return Region((below, Piece(bound, closed, intervals.INFINITY, False)), name)


def _inequality(parts: Sequence[Sequence[Token]], signs: Sequence[str]) -> Answer:
    if len(parts) > 3 or len({sign[0] for sign in signs}) > 1:
        raise UnreadableError("inequalities that do not form a range")
    if signs[0][0] == ">":
        parts, signs = parts[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    closed = [sign == "<=" for sign in signs]
    if len(parts) == 3:
        names = _names(parts[1])
        if names is None:
            raise UnreadableError("a range of what is no name")
        return Region((Piece(parse(parts[0]), closed[0], parse(parts[2]), closed[1]),), names[0])
    left, right = _names(parts[0]), _names(parts[1])
    if left and not right:
        piece = Piece(intervals.MINUS_INFINITY, False, parse(parts[1]), closed[0])
        return Region((piece,), left[0])
    if right and not left:
        piece = Piece(parse(parts[0]), closed[0], intervals.INFINITY, False)
        return Region((piece,), right[0])
    if region := _absolute(parts, closed[0]):
        return region
    operator: Operator = "<=" if closed[0] else "<"
    return _compared(operator, parts)


def _compared(operator: Operator, parts: Sequence[Sequence[Token]]) -> Relation:
    difference = subtract(parse(parts[0]), parse(parts[1]))
    if not symbols_of(difference):
        raise UnreadableError("a statement about numbers is no answer")
    return Relation(operator, difference)
