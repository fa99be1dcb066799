"""What a function name means: logarithms by their base, the exponential as a power."""

from __future__ import annotations

from rewards.mathematics.limits import UnreadableError
from rewards.mathematics.syntax import Node, call, constant, divide, number, power

INVERTIBLE = frozenset(["sin", "cos", "tan", "sinh", "cosh", "tanh"])
r"""Functions whose ``^{-1}`` is the inverse, not the reciprocal."""
_SEVERAL = ("max", "min", "gcd", "lcm")
_SHORT = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}


def apply(name: str, base: Node | None, arguments: list[Node]) -> Node:
    r"""A call with the name that ``numeric`` knows; ``\log`` has base 10 unless it says another."""
    if name not in _SEVERAL and len(arguments) != 1:
        raise UnreadableError(f"{name} takes one argument")
    if name == "exp":
        return power(constant("e"), arguments[0])
    if name in ("log", "lg"):
        below = call("ln", number(10) if base is None else base)
        return divide(call("ln", arguments[0]), below)
    if base is not None:
        raise UnreadableError(f"{name} with an index")
    name = _SHORT.get(name, name)
    return call(name, *arguments)
