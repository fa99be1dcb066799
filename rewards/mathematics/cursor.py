"""A place in a sequence of tokens, and the few ways to move it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rewards.mathematics.limits import UnreadableError
from rewards.mathematics.syntax import Node
from rewards.mathematics.tokens import Token


class Rules(NamedTuple):
    """Rules of the grammar that operands call back: what stands within brackets."""

    parse: Callable[[Sequence[Token]], Node]
    sum: Callable[[Cursor], Node]
    power: Callable[[Cursor], Node]
    juxtaposed: Callable[[Cursor, Node], Node]
    starts_factor: Callable[[Cursor], bool]


class Cursor:
    """Reads tokens one after the other; ``place`` is the next one."""

    def __init__(self, tokens: Sequence[Token], rules: Rules) -> None:
        self.rules = rules
        self.tokens = tokens
        self.place = 0
        self.bars = 0

    def peek(self, offset: int = 0) -> Token | None:
        """The token ``offset`` places ahead; None behind the end."""
        place = self.place + offset
        return self.tokens[place] if place < len(self.tokens) else None

    def take(self) -> Token:
        """The next token, which is passed."""
        token = self.peek()
        if token is None:
            raise UnreadableError("the formula ends too early")
        self.place += 1
        return token

    def at_mark(self, *texts: str) -> bool:
        """Whether one of these operators or brackets comes next."""
        token = self.peek()
        return token is not None and token.is_mark(*texts)

    def take_mark(self, *texts: str) -> bool:
        """Pass one of these if it comes next."""
        found = self.at_mark(*texts)
        self.place += found
        return found

    def take_command(self, *names: str) -> bool:
        """Pass one of these commands if it comes next."""
        token = self.peek()
        found = token is not None and token.is_command(*names)
        self.place += found
        return found
