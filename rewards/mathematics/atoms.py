r"""The operands of a formula: numbers, letters, brackets, fractions, roots and functions."""

from __future__ import annotations

import re

from rewards.mathematics.cursor import Cursor
from rewards.mathematics.functions import INVERTIBLE, apply
from rewards.mathematics.limits import UnreadableError
from rewards.mathematics.numbers import decimal
from rewards.mathematics.syntax import (
    Node,
    call,
    constant,
    divide,
    negative,
    number,
    power,
    symbol,
)
from rewards.mathematics.tokens import FUNCTIONS, Token, closing, split

_GREEK = frozenset(
    re.findall(
        r"\w+",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau "
        "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega "
        "ell hbar omicron partial",
    )
)
CLOSERS = {
    "(": ")",
    "[": "]",
    "{": "}",
    "\\{": "\\}",
    "\\lfloor": "\\rfloor",
    "\\lceil": "\\rceil",
}
_ROOTS = {"radical": 2, "cuberadical": 3, "fourthradical": 4}
_ACCENTS = frozenset(["vec", "hat", "bar", "tilde", "overline", "overrightarrow"])
COMMANDS = (
    FUNCTIONS
    | _GREEK
    | _ACCENTS
    | _ROOTS.keys()
    | frozenset(["frac", "binom", "tbinom", "dbinom", "pi", "infty"])
)
"""Commands that an operand can start with."""


def primary(at: Cursor) -> Node:
    """One operand without sign, power or anything behind it."""
    token = at.take()
    if token.kind == "number":
        if at.at_mark("_"):
            raise UnreadableError("a number with an index")
        return number(decimal(token.text))
    if token.kind == "letter":
        return _letter(at, token.text)
    if token.kind == "open" and token.text in CLOSERS:
        return _bracket(at, token.text)
    if token.is_mark("|"):
        at.bars += 1
        node = at.rules.sum(at)
        at.bars -= 1
        if not at.take_mark("|"):
            raise UnreadableError("a bar that never closes")
        return call("abs", node)
    if token.kind == "command":
        return _command(at, token.text)
    raise UnreadableError(f"{token.text!r:.40} does not belong there")


def _bracket(at: Cursor, opening: str) -> Node:
    bars, at.bars = at.bars, 0
    node = at.rules.sum(at)
    at.bars = bars
    if not at.take_mark(CLOSERS[opening]):
        raise UnreadableError("brackets that do not match")
    if opening in ("\\lfloor", "\\lceil"):
        return call("floor" if opening == "\\lfloor" else "ceil", node)
    return node


def _letter(at: Cursor, name: str) -> Node:
    if at.at_mark("_"):
        name += "_" + _index(at)
    while at.take_mark("'"):
        name += "'"
    return constant(name) if name in ("e", "i") else symbol(name)


def _index(at: Cursor) -> str:
    """A subscript, as the name that it adds to a letter."""
    at.take()
    token = at.take()
    if token.text != "{":
        return token.text
    end = closing(at.tokens, at.place - 1)
    inside = at.tokens[at.place : end]
    at.place = end + 1
    return "".join(part.text for part in inside)


def _command(at: Cursor, name: str) -> Node:
    if name == "frac":
        return divide(argument(at), argument(at))
    if name in ("binom", "tbinom", "dbinom"):
        return call("binomial", argument(at), argument(at))
    if name in ("sqrt", "cbrt"):
        return _root(at, number(3 if name == "cbrt" else 2))
    if name in _ROOTS:
        return call("root", number(_ROOTS[name]), primary(at))
    if name in ("pi", "infty"):
        return constant("pi" if name == "pi" else "oo")
    return _named(at, name)


def _named(at: Cursor, name: str) -> Node:
    if name in _GREEK:
        return _letter(at, "\\" + name)
    if name in FUNCTIONS:
        return _function(at, name)
    if name in _ACCENTS:
        end = closing(at.tokens, at.place) if at.at_mark("{") else at.place
        marked = "".join(token.text for token in at.tokens[at.place : end + 1])
        at.place = end + 1
        return symbol(f"\\{name} {marked.strip('{}')}")
    raise UnreadableError(f"\\{name:.40} is not part of an answer")


def argument(at: Cursor) -> Node:
    r"""What a command takes: a group, or one digit, letter or command (``\frac12``)."""
    token = at.peek()
    if token is not None and token.kind == "number" and len(token.text) > 1:
        if not token.text.isdigit():
            raise UnreadableError("a fraction of half a number")
        rest = Token("number", token.text[1:])
        at.tokens = [*at.tokens[: at.place], rest, *at.tokens[at.place + 1 :]]
        return number(int(token.text[0]))
    return primary(at)


def _root(at: Cursor, degree: Node) -> Node:
    if at.at_mark("["):
        end = closing(at.tokens, at.place)
        degree = at.rules.parse(at.tokens[at.place + 1 : end])
        at.place = end + 1
    radicand = primary(at) if not at.at_mark("{", "(") else _bracket(at, at.take().text)
    return call("root", degree, radicand)


def _function(at: Cursor, name: str) -> Node:
    base: Node | None = None
    exponent: Node | None = None
    while at.at_mark("^", "_"):
        if at.take().text == "^":
            exponent = negative(argument(at)) if at.take_mark("-") else argument(at)
        else:
            base = argument(at)
    arguments = _arguments(at, name)
    if exponent == number(-1) and name in INVERTIBLE:
        return apply("arc" + name, base, arguments)
    node = apply(name, base, arguments)
    return node if exponent is None else power(node, exponent)


def _arguments(at: Cursor, name: str) -> list[Node]:
    if at.at_mark("(", "{", "["):
        end = closing(at.tokens, at.place)
        parts = split(at.tokens[at.place + 1 : end], ",")
        at.place = end + 1
        return [at.rules.parse(part) for part in parts]
    if name in ("abs", "floor", "ceil", "max", "min", "gcd", "lcm"):
        raise UnreadableError(f"{name} without brackets")
    if at.at_mark("-"):
        at.take()
        return [negative(at.rules.power(at))]
    node = at.rules.power(at)
    while at.rules.starts_factor(at) and not _at_function(at):
        node = at.rules.juxtaposed(at, node)
    return [node]


def _at_function(at: Cursor) -> bool:
    token = at.peek()
    return token is not None and token.is_command(*FUNCTIONS) and not token.is_command("sqrt")
