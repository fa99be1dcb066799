r"""Exact rational values: of expressions, and of decimals that repeat.

Everything here is python's integers and fractions; a value that is not rational is None.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from rewards.mathematics.limits import (
    LARGEST_FACTORIAL,
    MOST_BITS,
    MOST_TOKENS,
    TooMuchError,
    UnreadableError,
)
from rewards.mathematics.syntax import Node, walk

_BARRED = re.compile(
    r"([0-9]*)\.([0-9]*)\s*\\(?:overline|bar|dot)\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))"
    r"(?:([0-9]*)\\dot\s*(?:\{\s*([0-9])\s*\}|([0-9])))?"
)
_BRACKETED = re.compile(r"([+-]?\s*)([0-9]*)\.([0-9]*)\(([0-9]+)\)")
_TRAILING = re.compile(r"([0-9]+)\.([0-9]+)\s*\\ldots")


def rewrite_repeating(text: str) -> str:
    r"""``0.1\overline{6}``, ``0.1(6)`` and ``0.1666\ldots`` as fractions.

    Raises:
        UnreadableError: Dots after digits that show no period.
    """
    if whole := _BRACKETED.fullmatch(text.strip()):
        return whole[1] + _fraction(whole[2], whole[3], whole[4])
    text = _BARRED.sub(_barred, text)
    return _TRAILING.sub(_trailing, text)


def _barred(match: re.Match[str]) -> str:
    period = (match[3] or match[4]) + (match[5] or "") + (match[6] or match[7] or "")
    return _fraction(match[1], match[2], period)


def _trailing(match: re.Match[str]) -> str:
    digits = match[2]
    for length in range(1, len(digits) // 2 + 1):
        needed = 3 if length == 1 else 2
        period = digits[-length:]
        if digits.endswith(period * needed):
            return _fraction(match[1], digits[:-length], period)
    raise UnreadableError("a decimal that goes on without a period")


def _fraction(whole: str, before: str, period: str) -> str:
    scale, nines = 10 ** len(before), 10 ** len(period) - 1
    value = Fraction(int(whole + before or "0")) + Fraction(int(period), nines)
    value /= scale
    return f"{{\\frac{{{value.numerator}}}{{{value.denominator}}}}}"


def decimal(text: str) -> Fraction:
    """The value of a number token, in scientific notation too."""
    mantissa, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > LARGEST_FACTORIAL:
        raise TooMuchError("exponent too large")
    whole, _, decimals = mantissa.partition(".")
    value = Fraction(int((whole + decimals) or "0"), 10 ** len(decimals))
    return value * Fraction(10) ** int(exponent) if exponent else value


@lru_cache(maxsize=4096)
def exact(node: Node) -> Fraction | None:
    """The rational value of ``node``; None when it has letters, irrational parts or no value.

    Raises:
        TooMuchError: If an integer on the way has too many bits.
    """
    size = sum(1 for _ in walk(node))
    bits = max(MOST_BITS // size, MOST_BITS // MOST_TOKENS * 10)
    try:
        return _exact(node, bits)
    except ZeroDivisionError:
        return None


def _exact(node: Node, bits: int) -> Fraction | None:
    if node.kind == "number":
        assert isinstance(node.value, Fraction), "numbers hold fractions"
        return node.value
    if node.kind in ("symbol", "constant"):
        return None
    values: list[Fraction] = []
    for arg in node.args:
        value = _exact(arg, bits)
        if value is None:
            return None
        values.append(value)
    result = _OPERATIONS[node.kind](node, values)
    if result is not None and _bits(result) > bits:
        raise TooMuchError("an integer with too many digits")
    return result


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _power(_: Node, values: list[Fraction]) -> Fraction | None:
    base, exponent = values
    if base in (0, 1, -1) and exponent.denominator == 1 and (base or exponent > 0):
        return base if exponent % 2 or base != -1 else Fraction(1)
    if abs(exponent) * _bits(base) > MOST_BITS:
        raise TooMuchError("a power too large")
    return base ** int(exponent) if exponent.denominator == 1 else None


def _factorial(value: Fraction) -> Fraction | None:
    if value > LARGEST_FACTORIAL:
        raise TooMuchError("a factorial too large")
    return Fraction(math.factorial(int(value))) if _is_natural(value) else None


def _binomial(values: list[Fraction]) -> Fraction | None:
    if max(values) > LARGEST_FACTORIAL:
        raise TooMuchError("a binomial coefficient too large")
    if not all(map(_is_natural, values)):
        return None
    return Fraction(math.comb(int(values[0]), int(values[1])))


def _is_natural(value: Fraction) -> bool:
    return value.denominator == 1 and value >= 0


def _call(node: Node, values: list[Fraction]) -> Fraction | None:
    if node.value in ("gcd", "lcm") and any(value.denominator > 1 for value in values):
        return None
    function = _CALLS.get(str(node.value))
    return None if function is None else function(values)


_CALLS: dict[str, Callable[[list[Fraction]], Fraction | None]] = {
    "factorial": lambda values: _factorial(values[0]),
    "binomial": _binomial,
    "abs": lambda values: abs(values[0]),
    "floor": lambda values: Fraction(math.floor(values[0])),
    "ceil": lambda values: Fraction(math.ceil(values[0])),
    "max": max,
    "min": min,
    "gcd": lambda values: Fraction(math.gcd(*map(int, values))),
    "lcm": lambda values: Fraction(math.lcm(*map(int, values))),
}
_OPERATIONS: dict[str, Callable[[Node, list[Fraction]], Fraction | None]] = {
    "+": lambda _, values: sum(values, Fraction(0)),
    "*": lambda _, values: math.prod(values, start=Fraction(1)),
    "/": lambda _, values: values[0] / values[1],
    "^": _power,
    "call": _call,
}
