"""The expression tree. A node is plain data: hashable, comparable, and evaluated elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

Kind = Literal["number", "symbol", "constant", "+", "*", "/", "^", "call"]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation with its operands, or a leaf."""

    kind: Kind
    value: Fraction | str | None = None
    """The number, the name of a symbol, constant (pi, e, i, oo) or function."""
    args: tuple[Node, ...] = ()


def number(value: Fraction | int) -> Node:
    """A rational leaf."""
    return Node("number", Fraction(value))


def symbol(name: str) -> Node:
    """A letter: some fixed real number that nobody knows."""
    return Node("symbol", name)


def constant(name: str) -> Node:
    """One of pi, e, i and oo."""
    return Node("constant", name)


def call(name: str, *args: Node) -> Node:
    """A function of its arguments."""
    return Node("call", name, args)


def add(*terms: Node) -> Node:
    """Sum of the terms."""
    return terms[0] if len(terms) == 1 else Node("+", None, terms)


def times(*factors: Node) -> Node:
    """Product of the factors."""
    return factors[0] if len(factors) == 1 else Node("*", None, factors)


def negative(node: Node) -> Node:
    """``-node``; a number is negated in place."""
    if node.kind == "number":
        assert isinstance(node.value, Fraction), "numbers hold fractions"
        return number(-node.value)
    return times(number(-1), node)


def subtract(left: Node, right: Node) -> Node:
    """``left - right``."""
    return add(left, negative(right))


def divide(above: Node, below: Node) -> Node:
    """``above / below``."""
    return Node("/", None, (above, below))


def power(base: Node, exponent: Node) -> Node:
    """``base ^ exponent``."""
    return Node("^", None, (base, exponent))


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    for arg in node.args:
        yield from walk(arg)


@lru_cache(maxsize=4096)
def symbols_of(node: Node) -> frozenset[str]:
    """Names of the letters in ``node``."""
    return frozenset(str(part.value) for part in walk(node) if part.kind == "symbol")


def holds_constant(node: Node, name: str) -> bool:
    """Whether the constant ``name`` occurs in ``node``."""
    return any(part.kind == "constant" and part.value == name for part in walk(node))
