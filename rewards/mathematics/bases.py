"""Numbers written in a base: ``1011_2``, ``(1011)_2``, ``2A_{16}``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewards.mathematics.answers import Scalar
from rewards.mathematics.limits import MOST_DIGITS, TooMuchError, UnreadableError
from rewards.mathematics.syntax import number
from rewards.mathematics.tokens import Token

_BASED = re.compile(r"(-?)\(?(?:\\text)?\(?([0-9A-Za-z]+)\)?\)?_\(?([0-9]+|[a-z]+)\)?")
_NAMES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
          "nine": 9, "ten": 10, "sixteen": 16}  # fmt: skip


def read_based(tokens: Sequence[Token]) -> Scalar | None:
    """The value of a number with a base; None for anything else, an indexed letter too.

    Raises:
        UnreadableError: A digit that the base does not have.
    """
    if not any(token.is_mark("_") for token in tokens[1:]):
        return None
    match = _BASED.fullmatch("".join(_plain(token) for token in tokens))
    if match is None:
        return None
    sign, digits, base_text = match.groups()
    base = (
        int(base_text) if base_text.isdigit() and len(base_text) < 3 else _NAMES.get(base_text, 0)
    )
    if not any(digit.isdigit() for digit in digits) and not (base == 16 and digits.isupper()):
        return None
    if len(digits) > MOST_DIGITS:
        raise TooMuchError("too many digits")
    try:
        value = int(digits, base) if 2 <= base <= 36 else None
    except ValueError:
        value = None
    if value is None:
        raise UnreadableError(f"{digits:.40} is no number of base {base_text:.10}")
    return Scalar(number(-value if sign else value))


def _plain(token: Token) -> str:
    if token.kind in ("open", "close"):
        return "(" if token.kind == "open" else ")"
    return token.text
