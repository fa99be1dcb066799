r"""Recursive descent from tokens to an expression tree: sums, products, powers.

A product written without an operator binds as one written with it; a function without brackets
takes the product that follows (``\sin 2x``) up to the next function. Letters are never looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewards.mathematics import atoms
from rewards.mathematics.cursor import Cursor, Rules
from rewards.mathematics.limits import MOST_CALLS, TooMuchError, UnreadableError
from rewards.mathematics.numbers import decimal
from rewards.mathematics.syntax import (
    Node,
    add,
    call,
    constant,
    divide,
    negative,
    number,
    power,
    times,
    walk,
)
from rewards.mathematics.tokens import Token


def parse(tokens: Sequence[Token]) -> Node:
    """The expression that all of ``tokens`` spell.

    Raises:
        UnreadableError: They spell none.
        TooMuchError: It calls too many functions.
    """
    at = Cursor(tokens, Rules(parse, _sum, _power, _juxtaposed, _starts_factor))
    node = _sum(at)
    if left := at.peek():
        raise UnreadableError(f"{left.text!r:.40} does not belong there")
    if sum(part.kind == "call" for part in walk(node)) > MOST_CALLS:
        raise TooMuchError("too many functions")
    return node


def _sum(at: Cursor) -> Node:
    terms = [_signed(at)]
    while at.at_mark("+", "-"):
        terms.append(_signed(at))
    return add(*terms)


def _signed(at: Cursor) -> Node:
    sign = 1
    while at.at_mark("+", "-"):
        sign = -sign if at.take().text == "-" else sign
    node = _product(at)
    return negative(node) if sign < 0 else node


def _product(at: Cursor) -> Node:
    node = _power(at)
    while True:
        if at.take_mark("*") or at.take_command("cdot", "times"):
            node = times(node, _factor(at))
        elif at.take_mark("/") or at.take_command("div"):
            node = divide(node, _factor(at))
        elif _starts_factor(at):
            node = _juxtaposed(at, node)
        else:
            return node


def _factor(at: Cursor) -> Node:
    """An operand after an operator; it may carry a sign."""
    if at.at_mark("+", "-"):
        return negative(_factor(at)) if at.take().text == "-" else _factor(at)
    return _power(at)


def _juxtaposed(at: Cursor, node: Node) -> Node:
    before = at.tokens[at.place - 1]
    here = at.peek()
    assert here is not None, "a factor starts here"
    if before.kind == "number" and here.is_command("frac"):
        return _mixed(at, node)
    if before.kind == "number" and here.kind == "number":
        return _spelled_mixed(at, node)
    if here.kind == "number":
        raise UnreadableError("a number right after a factor")
    return times(node, _power(at))


def _mixed(at: Cursor, whole: Node) -> Node:
    r"""``3\frac12`` is three and a half; ``3\frac{x}{2}`` is a product."""
    part = _power(at)
    if _is_proper(part) and whole.kind == "number" and _is_integer(whole):
        return add(whole, part)
    return times(whole, part)


def _spelled_mixed(at: Cursor, whole: Node) -> Node:
    above, slash, below = (at.peek(offset) for offset in range(3))
    spelled = slash is not None and slash.is_mark("/") and below is not None
    if not (spelled and above and below and below.kind == "number" and _is_integer(whole)):
        raise UnreadableError("two numbers side by side")
    at.place += 3
    part = divide(number(decimal(above.text)), number(decimal(below.text)))
    if not _is_proper(part):
        raise UnreadableError("two numbers side by side")
    return add(whole, part)


def _starts_factor(at: Cursor) -> bool:
    token = at.peek()
    if token is None:
        return False
    if token.kind == "command":
        return token.text in atoms.COMMANDS
    return (
        token.kind in ("number", "letter")
        or (token.kind == "open" and token.text in atoms.CLOSERS)
        or (token.is_mark("|") and at.bars == 0)
    )


def _power(at: Cursor) -> Node:
    base = _postfix(at, atoms.primary(at))
    if at.take_mark("^"):
        at.take_mark("+")
        return _postfix(at, power(base, _exponent(at)))
    return base


def _exponent(at: Cursor) -> Node:
    if at.take_mark("-"):
        return negative(_exponent(at))
    token = at.peek()
    if token is not None and token.kind == "number" and not token.spaced:
        return _power(at) if _tower(at) else _raised_number(at)
    return _power(at)


def _tower(at: Cursor) -> bool:
    after = at.peek(1)
    return after is not None and (after.is_mark("^") or after.is_mark("!", "*"))


def _raised_number(at: Cursor) -> Node:
    r"""``x^12`` is typed for both; as plain text it is the whole number."""
    return number(decimal(at.take().text))


def _postfix(at: Cursor, node: Node) -> Node:
    while True:
        if at.at_mark("!"):
            at.take()
            if at.at_mark("!"):
                raise TooMuchError("a factorial of a factorial sign")
            node = call("factorial", node)
        elif at.take_mark("%"):
            node = divide(node, number(100))
        elif at.take_command("degree"):
            node = times(node, divide(constant("pi"), number(180)))
        else:
            return node


def _is_integer(node: Node) -> bool:
    return isinstance(node.value, Fraction) and node.value.denominator == 1


def _is_proper(node: Node) -> bool:
    if node.kind != "/" or not all(arg.kind == "number" and _is_integer(arg) for arg in node.args):
        return False
    above, below = (arg.value for arg in node.args)
    assert isinstance(above, Fraction), "checked above"
    assert isinstance(below, Fraction), "checked above"
    return 0 < above < below
