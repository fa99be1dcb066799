"""Whether two expressions are equal: exactly when both are rational, else to 75 digits.

Letters are replaced by fixed rational numbers, several times over; a point where an expression has
no real value says nothing about it. A sum that swallows a term (1 + e^(-1000)) has no value
either: then nothing is believed. So a wrong "equal" needs a coincidence of 75 digits at each point.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

import mpmath

from rewards.mathematics.limits import LARGEST_EXPONENT, TooMuchError
from rewards.mathematics.numbers import exact
from rewards.mathematics.syntax import Node, holds_constant, symbols_of

_MP = mpmath.MPContext()
_MP.dps = 100
_SAME = _MP.mpf(10) ** -75
_NOISE = _MP.mpf(10) ** -85
_SWALLOWED = _MP.mpf(10) ** 60
_NUM_POINTS = 14
_FEWEST_POINTS = 3
_SCALES = (1, 1, 6, 1, 40, 1, 700)

Mode = Literal["real", "complex", "integer"]


class _NoValueError(ArithmeticError):
    """The expression has no value at this point, or none that can be trusted."""


def equal(left: Node, right: Node) -> bool:
    """Whether the two expressions are the same number, or the same function of their letters."""
    if left == right:
        return True
    exacts = exact(left), exact(right)
    if None not in exacts:
        return exacts[0] == exacts[1]
    complete = holds_constant(left, "i") or holds_constant(right, "i")
    letters = symbols_of(left) | symbols_of(right)
    modes: tuple[Mode, ...] = ("complex",) if complete else ("real",)
    if letters:
        modes = (*modes, "integer")
    elif not complete:
        modes = ("real", "complex")
    for mode in modes:
        same, count = _agreement(left, right, mode, bool(letters))
        if count >= (_FEWEST_POINTS if letters else 1):
            return same
    return False


def _agreement(left: Node, right: Node, mode: Mode, has_letters: bool) -> tuple[bool, int]:
    count = 0
    for point in range(_NUM_POINTS if has_letters else 1):
        values = evaluate(left, mode, point), evaluate(right, mode, point)
        if None in values:
            continue
        if not same_number(*values):
            return False, _FEWEST_POINTS
        count += 1
    return True, count


def same_number(left: Any, right: Any) -> bool:
    """Whether two values agree to 75 digits, relative to the larger one."""
    if left == right:
        return True
    if _MP.isinf(left) or _MP.isinf(right):
        return False
    return abs(left - right) <= _SAME * max(abs(left), abs(right))


@lru_cache(maxsize=16_384)
def evaluate(node: Node, mode: Mode, point: int) -> Any:
    """Value at the ``point``-th choice of its letters, or None when it has none.

    Raises:
        TooMuchError: A number without letters is beyond what can be evaluated.
    """
    try:
        return _value(node, mode, point)
    except TooMuchError:
        if symbols_of(node):
            return None
        raise
    except (_NoValueError, ZeroDivisionError, ValueError, OverflowError):
        return None


def real_value(node: Node) -> Any:
    """Value of an expression without letters as a real number, or None."""
    return None if symbols_of(node) else evaluate(node, "real", 0)


def _letter(name: str, mode: Mode, point: int) -> Any:
    seed = zlib.crc32(f"{name} {point}".encode())
    if mode == "integer":
        return _MP.mpf(1 + seed % (12 if point % 2 else 5))
    above = 1 + seed % 9973
    sign = -1 if (seed >> 16) % 3 == 0 and point else 1
    return _MP.mpf(sign * above * _SCALES[point % len(_SCALES)]) / 5003


def _value(node: Node, mode: Mode, point: int) -> Any:
    match node.kind:
        case "number":
            assert isinstance(node.value, Fraction), "numbers hold fractions"
            return _MP.mpf(node.value.numerator) / node.value.denominator
        case "symbol":
            return _letter(str(node.value), mode, point)
        case "constant":
            return _CONSTANTS[str(node.value)]()
    values = [_value(arg, mode, point) for arg in node.args]
    match node.kind:
        case "+":
            result = _sum(values)
        case "*":
            result = _MP.fprod(values)
        case "/":
            result = values[0] / values[1]
        case "^":
            result = _power(values[0], values[1], mode)
        case _:
            result = _call(str(node.value), values, mode)
    return _checked(result, mode)


def _checked(value: Any, mode: Mode) -> Any:
    if isinstance(value, _MP.mpc):
        if abs(value.imag) <= _NOISE * abs(value.real):
            value = value.real
        elif abs(value.real) <= _NOISE * abs(value.imag):
            value = _MP.mpc(0, value.imag)
        if isinstance(value, _MP.mpc) and mode != "complex":
            raise _NoValueError("not real")
    if _MP.isnan(value):
        raise _NoValueError("undefined")
    if not _MP.isinf(value) and value != 0 and abs(_MP.mag(value)) > LARGEST_EXPONENT * 8:
        raise TooMuchError("a number too large to evaluate")
    return value


def _sum(values: list[Any]) -> Any:
    total = _MP.mpf(0)
    for value in values:
        sizes = sorted((abs(total), abs(value)))
        if sizes[0] != 0 and not _MP.isinf(sizes[1]) and sizes[1] > sizes[0] * _SWALLOWED:
            raise _NoValueError("a term too small to be seen")
        total = total + value
        if abs(total) <= _NOISE * sizes[1]:
            total = _MP.mpf(0)
    return total


def _power(base: Any, exponent: Any, mode: Mode) -> Any:
    if base == 0 and _MP.re(exponent) <= 0:
        raise _NoValueError("a power of zero")
    if base != 0 and abs(exponent) * abs(_MP.mag(base)) > LARGEST_EXPONENT * 4:
        raise TooMuchError("a power too large")
    if mode != "complex" and base < 0 and not _MP.isint(exponent):
        raise _NoValueError("a broken power of a negative number")
    return base**exponent


def _root(degree: Any, radicand: Any, mode: Mode) -> Any:
    if not _MP.isint(degree) or not 1 <= degree <= 1000:
        return _power(radicand, 1 / degree, mode)
    if not isinstance(radicand, _MP.mpc) and radicand < 0:
        if degree % 2:
            return -_MP.root(-radicand, int(degree))
        if mode != "complex":
            raise _NoValueError("an even root of a negative number")
    return _MP.root(radicand, int(degree))


def _near_integer(value: Any) -> Any:
    nearest = _MP.nint(value)
    return nearest if abs(value - nearest) <= _NOISE * max(1, abs(value)) else value


def _without_noise(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def cleaned(argument: Any) -> Any:
        if abs(argument) > 10**12:
            raise _NoValueError("an angle too large to reduce")
        value = function(argument)
        return _MP.mpf(0) if abs(value) < _NOISE < abs(argument) else value

    return cleaned


def _ln(value: Any) -> Any:
    if value == 0:
        raise _NoValueError("logarithm of zero")
    return _MP.mpf(0) if abs(value - 1) < _NOISE else _MP.log(value)


def _factorial(value: Any) -> Any:
    if isinstance(value, _MP.mpc) or abs(value) > 3000:
        raise TooMuchError("a factorial too large")
    return _MP.gamma(_near_integer(value) + 1)


_sin, _cos = _without_noise(_MP.sin), _without_noise(_MP.cos)

_CONSTANTS: dict[str, Callable[[], Any]] = {
    "pi": lambda: +_MP.pi,
    "e": lambda: +_MP.e,
    "i": lambda: _MP.mpc(0, 1),
    "oo": lambda: _MP.inf,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": _sin,
    "cos": _cos,
    "tan": lambda x: _sin(x) / _cos(x),
    "cot": lambda x: _cos(x) / _sin(x),
    "sec": lambda x: 1 / _cos(x),
    "csc": lambda x: 1 / _sin(x),
    "arcsin": _MP.asin,
    "arccos": _MP.acos,
    "arctan": _MP.atan,
    "arccot": lambda x: _MP.pi / 2 - _MP.atan(x),
    "sinh": _MP.sinh,
    "cosh": _MP.cosh,
    "tanh": _MP.tanh,
    "coth": lambda x: 1 / _MP.tanh(x),
    "arcsinh": _MP.asinh,
    "arccosh": _MP.acosh,
    "arctanh": _MP.atanh,
    "ln": _ln,
    "abs": abs,
    "floor": lambda x: _MP.floor(_near_integer(x)),
    "ceil": lambda x: _MP.ceil(_near_integer(x)),
    "max": max,
    "min": min,
    "factorial": _factorial,
    "binomial": lambda n, k: _factorial(n) / _factorial(k) / _factorial(n - k),
}


def _call(name: str, values: list[Any], mode: Mode) -> Any:
    if name == "root":
        return _root(values[0], values[1], mode)
    if name not in _FUNCTIONS:
        raise _NoValueError("no numeric value")
    if name in ("sinh", "cosh", "tanh") and abs(values[0]) > LARGEST_EXPONENT:
        raise TooMuchError("a number too large to evaluate")
    return _FUNCTIONS[name](*values)


def constant_ratio(left: Node, right: Node) -> Any:
    """``left / right`` when it is the same real number at every point, else None."""
    ratios = []
    for point in range(_NUM_POINTS):
        values = evaluate(left, "real", point), evaluate(right, "real", point)
        if None not in values and values[0] != 0 and values[1] != 0:
            ratios.append(values[0] / values[1])
    if len(ratios) < _FEWEST_POINTS or not all(same_number(ratios[0], ratio) for ratio in ratios):
        return None
    return ratios[0]
