"""How much one answer may hold, and the two ways in which an answer is refused.

The limits keep every step in milliseconds whatever a completion says; only the symbolic fallback
needs a clock, and it lives in a process that can be killed.
"""

from __future__ import annotations

LONGEST_TAIL = 16 * 1024
"""Characters at the end of a completion in which the box is searched."""
LONGEST_ANSWER = 4096
"""Characters of one answer."""
MOST_TOKENS = 600
"""Tokens of one answer; an answer's expression has no more nodes than this."""
MOST_DIGITS = 1000
"""Digits in a row."""
DEEPEST = 64
"""Brackets within brackets."""
MOST_CALLS = 50
"""Functions, roots and factorials of one answer."""
MOST_ITEMS = 64
"""Members of a list, entries of a matrix."""
MOST_BITS = 130_000
"""Bits of an exact integer: 10000! fits."""
LARGEST_FACTORIAL = 10_000
LARGEST_EXPONENT = 20_000
"""Binary exponent of a number that is evaluated numerically."""


class UnreadableError(ValueError):
    """The text is not in the grammar, or commits to nothing."""


class TooMuchError(ValueError):
    """Reading or evaluating the text would go beyond a limit."""


def check_text(text: str) -> None:
    """Refuse a text by its length, its runs of digits or the depth of its brackets."""
    if len(text) > LONGEST_ANSWER:
        raise TooMuchError("longer than an answer may be")
    depth = deepest = digits = longest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        digits = digits + 1 if character.isdigit() else 0
        deepest, longest = max(deepest, depth), max(longest, digits)
    if deepest > DEEPEST:
        raise TooMuchError("brackets too deep")
    if longest > MOST_DIGITS:
        raise TooMuchError("too many digits")
