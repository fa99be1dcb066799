r"""Recursive descent from tokens to an expression tree; the whole grammar of a formula.

A product written without an operator binds as one written with it; a function without brackets
takes the product that follows (``\sin 2x``) up to the next function. Letters are never looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from rewards.mathematics.cursor import Cursor
from rewards.mathematics.functions import INVERTIBLE, apply
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
    subtract,
    symbol,
    times,
    walk,
)
from rewards.mathematics.tokens import FUNCTIONS, Token, closing, split

_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega "
    "ell hbar omicron partial".split()
)
_CLOSERS = {
    "(": ")",
    "[": "]",
    "{": "}",
    "\\{": "\\}",
    "\\lfloor": "\\rfloor",
    "\\lceil": "\\rceil",
}
_ROOTS = {"radical": 2, "cuberadical": 3, "fourthradical": 4}
_ACCENTS = {"vec", "hat", "bar", "tilde", "overline", "overrightarrow"}
_STARTERS = frozenset(["frac", "sqrt", "binom", "tbinom", "dbinom", "pi", "infty", "log", "ln"])


def parse(tokens: Sequence[Token]) -> Node:
    """The expression that all of ``tokens`` spell.

    Raises:
        UnreadableError: They spell none.
        TooMuchError: It calls too many functions.
    """
    node = _Parser(tokens).whole()
    if sum(part.kind == "call" for part in walk(node)) > MOST_CALLS:
        raise TooMuchError("too many functions")
    return node


class _Parser(Cursor):
    """One method per rule of the grammar."""

    def whole(self) -> Node:
        node = self.sum()
        if self.place < len(self.tokens):
            raise UnreadableError(f"{self.tokens[self.place].text!r:.40} does not belong there")
        return node

    def sum(self) -> Node:
        terms = [self.signed()]
        while self.at_mark("+", "-"):
            terms.append(self.signed())
        return add(*terms)

    def signed(self) -> Node:
        sign = 1
        while self.at_mark("+", "-"):
            sign = -sign if self.take().text == "-" else sign
        node = self.product()
        return negative(node) if sign < 0 else node

    def product(self) -> Node:
        node = self.power()
        while True:
            if self.at_mark("*") and self._doubled_star():
                raise UnreadableError("a power without a base")
            if self.take_mark("*") or self.take_command("cdot", "times"):
                node = times(node, self.factor())
            elif self.take_mark("/") or self.take_command("div"):
                node = divide(node, self.factor())
            elif self.starts_factor():
                node = self.juxtaposed(node)
            else:
                return node

    def _doubled_star(self) -> bool:
        after = self.peek(1)
        return after is not None and after.is_mark("*")

    def factor(self) -> Node:
        """An operand after an operator; it may carry a sign."""
        if self.at_mark("+", "-"):
            return negative(self.factor()) if self.take().text == "-" else self.factor()
        return self.power()

    def juxtaposed(self, node: Node) -> Node:
        before = self.tokens[self.place - 1]
        here = self.peek()
        assert here is not None, "a factor starts here"
        if before.kind == "number" and here.is_command("frac"):
            return self.mixed(node)
        if before.kind == "number" and here.kind == "number":
            return self.spelled_mixed(node)
        if here.kind == "number":
            raise UnreadableError("a number right after a factor")
        return times(node, self.power())

    def mixed(self, whole: Node) -> Node:
        r"""``3\frac12`` is three and a half; ``3\frac{x}{2}`` is a product."""
        part = self.power()
        if _is_proper(part) and whole.kind == "number" and _is_integer(whole):
            return add(whole, part)
        return times(whole, part)

    def spelled_mixed(self, whole: Node) -> Node:
        above, slash, below = (self.peek(offset) for offset in range(3))
        spelled = slash is not None and slash.is_mark("/") and below is not None
        if not (spelled and above and below and below.kind == "number" and _is_integer(whole)):
            raise UnreadableError("two numbers side by side")
        self.place += 3
        part = divide(number(decimal(above.text)), number(decimal(below.text)))
        if not _is_proper(part):
            raise UnreadableError("two numbers side by side")
        return add(whole, part)

    def starts_factor(self) -> bool:
        token = self.peek()
        if token is None:
            return False
        if token.kind == "command":
            return (
                token.text in FUNCTIONS
                or token.text in _STARTERS
                or token.text in _GREEK
                or token.text in _ROOTS
                or token.text in _ACCENTS
            )
        return (
            token.kind in ("number", "letter")
            or (token.kind == "open" and token.text in _CLOSERS)
            or (token.is_mark("|") and self.bars == 0)
        )

    def power(self) -> Node:
        base = self.postfix(self.primary())
        if self.take_mark("^") or (self.at_mark("*") and self._doubled_star() and self._skip(2)):
            if self.take_mark("+"):
                pass
            exponent = self.exponent()
            return self.postfix(power(base, exponent))
        return base

    def _skip(self, count: int) -> bool:
        self.place += count
        return True

    def exponent(self) -> Node:
        if self.take_mark("-"):
            return negative(self.exponent())
        token = self.peek()
        if token is not None and token.kind == "number" and not token.spaced:
            return self.power() if self._tower() else self._raised_number()
        return self.power()

    def _tower(self) -> bool:
        after = self.peek(1)
        return after is not None and (after.is_mark("^") or after.is_mark("!", "*"))

    def _raised_number(self) -> Node:
        r"""``x^12`` is typed for both; as plain text it is the whole number."""
        return number(decimal(self.take().text))

    def postfix(self, node: Node) -> Node:
        while True:
            if self.at_mark("!"):
                self.take()
                if self.at_mark("!"):
                    raise TooMuchError("a factorial of a factorial sign")
                node = call("factorial", node)
            elif self.take_mark("%"):
                node = divide(node, number(100))
            elif self.take_command("degree"):
                node = times(node, divide(constant("pi"), number(180)))
            else:
                return node

    def primary(self) -> Node:
        token = self.take()
        if token.kind == "number":
            if self.at_mark("_"):
                raise UnreadableError("a number with an index")
            return number(decimal(token.text))
        if token.kind == "letter":
            return self.letter(token.text)
        if token.kind == "open" and token.text in _CLOSERS:
            return self.bracket(token.text)
        if token.is_mark("|"):
            self.bars += 1
            node = self.sum()
            self.bars -= 1
            if not self.take_mark("|"):
                raise UnreadableError("a bar that never closes")
            return call("abs", node)
        if token.kind == "command":
            return self.command(token.text)
        raise UnreadableError(f"{token.text!r:.40} does not belong there")

    def bracket(self, opening: str) -> Node:
        bars, self.bars = self.bars, 0
        node = self.sum()
        self.bars = bars
        if not self.take_mark(_CLOSERS[opening]):
            raise UnreadableError("brackets that do not match")
        if opening in ("\\lfloor", "\\lceil"):
            return call("floor" if opening == "\\lfloor" else "ceil", node)
        return node

    def letter(self, name: str) -> Node:
        if self.at_mark("_"):
            name += "_" + self.index()
        while self.take_mark("'"):
            name += "'"
        return constant(name) if name in ("e", "i") else symbol(name)

    def index(self) -> str:
        """A subscript, as the name that it adds to a letter."""
        self.take()
        token = self.take()
        if token.text != "{":
            return token.text
        end = closing(self.tokens, self.place - 1)
        inside = self.tokens[self.place : end]
        self.place = end + 1
        return "".join(part.text for part in inside)

    def command(self, name: str) -> Node:
        if name == "frac":
            return divide(self.argument(), self.argument())
        if name in ("binom", "tbinom", "dbinom"):
            return call("binomial", self.argument(), self.argument())
        if name in ("sqrt", "cbrt"):
            return self.root(number(3 if name == "cbrt" else 2))
        if name in _ROOTS:
            return call("root", number(_ROOTS[name]), self.primary())
        if name in ("pi", "infty"):
            return constant("pi" if name == "pi" else "oo")
        return self.named(name)

    def named(self, name: str) -> Node:
        if name in _GREEK:
            return self.letter("\\" + name)
        if name in FUNCTIONS:
            return self.function(name)
        if name in _ACCENTS:
            end = closing(self.tokens, self.place) if self.at_mark("{") else self.place
            marked = "".join(token.text for token in self.tokens[self.place : end + 1])
            self.place = end + 1
            return symbol(f"\\{name} {marked.strip('{}')}")
        raise UnreadableError(f"\\{name:.40} is not part of an answer")

    def argument(self) -> Node:
        r"""What a command takes: a group, or one digit, letter or command (``\frac12``)."""
        token = self.peek()
        if token is not None and token.kind == "number" and len(token.text) > 1:
            if not token.text.isdigit():
                raise UnreadableError("a fraction of half a number")
            rest = Token("number", token.text[1:])
            self.tokens = [*self.tokens[: self.place], rest, *self.tokens[self.place + 1 :]]
            return number(int(token.text[0]))
        return self.primary()

    def root(self, degree: Node) -> Node:
        if self.at_mark("["):
            end = closing(self.tokens, self.place)
            degree = parse(self.tokens[self.place + 1 : end])
            self.place = end + 1
        radicand = self.primary() if not self.at_mark("{", "(") else self.bracket(self.take().text)
        return call("root", degree, radicand)

    def function(self, name: str) -> Node:
        base: Node | None = None
        exponent: Node | None = None
        while self.at_mark("^", "_"):
            if self.take().text == "^":
                exponent = negative(self.argument()) if self.take_mark("-") else self.argument()
            else:
                base = self.argument()
        arguments = self.arguments(name)
        if exponent == number(-1) and name in INVERTIBLE:
            return apply("arc" + name, base, arguments)
        node = apply(name, base, arguments)
        return node if exponent is None else power(node, exponent)

    def arguments(self, name: str) -> list[Node]:
        if self.at_mark("(", "{", "["):
            end = closing(self.tokens, self.place)
            parts = split(self.tokens[self.place + 1 : end], ",")
            self.place = end + 1
            return [parse(part) for part in parts]
        if name in ("abs", "floor", "ceil", "max", "min", "gcd", "lcm"):
            raise UnreadableError(f"{name} without brackets")
        if self.at_mark("-"):
            self.take()
            return [negative(self.power())]
        node = self.power()
        while self.starts_factor() and not self._at_function():
            node = self.juxtaposed(node)
        return [node]

    def _at_function(self) -> bool:
        token = self.peek()
        return token is not None and token.is_command(*FUNCTIONS) and not token.is_command("sqrt")


def _is_integer(node: Node) -> bool:
    return isinstance(node.value, Fraction) and node.value.denominator == 1


def _is_proper(node: Node) -> bool:
    if node.kind != "/" or not all(arg.kind == "number" and _is_integer(arg) for arg in node.args):
        return False
    above, below = (arg.value for arg in node.args)
    assert isinstance(above, Fraction), "checked above"
    assert isinstance(below, Fraction), "checked above"
    return 0 < above < below
