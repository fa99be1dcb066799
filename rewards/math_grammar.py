r"""A grammar of final answers in LaTeX: says whether a text is one, and computes nothing.

    answers   := relation ((, | ; | \text{and}) relation)*
    relation  := sum ((= | < | \le | \in | : | ...) sum)*
    sum       := product ((+ | - | \pm | \cup | ...) product)*
    product   := sign* factor ((* | / | \cdot | ...)? sign* factor)*
    factor    := atom (^arg | _arg | ! | % | ')*
    atom      := number | letters | \frac arg arg | \sqrt[answers] arg | \sin factor | \pi
               | \text{...} | \begin{pmatrix}...\end{pmatrix}
               | (answers) | (answers] | \{answers\} | |answers| | {answers}

One word is an answer ("yes", "B"), a sentence is not: two bare words never stand side by side.
Recursive descent without backtracking; length and depth are limited, so time is.
"""

from __future__ import annotations

import re

from rewards import latex_words as words

_LONGEST = 2000
_DEEPEST = 40
_TOKEN = re.compile(
    r"(?P<space>\s+|\$|~|\\[,;:!> ]"
    r"|\\(?:left|right|big|Big|bigg|Bigg|displaystyle|q?quad)(?![a-zA-Z]))"
    r"|(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<word>[A-Za-z]+)"
    r"|(?P<symbol>\\[A-Za-z]+|\\.|<=|>=|!=|==|\*\*|.)",
    re.DOTALL,
)
_SHORT_FRACTION = re.compile(r"(\\[dtc]?frac) *([0-9]) *([0-9])")


class _NoAnswerError(Exception):
    """The text is no sentence of the grammar, or too deep."""


def is_answer(text: str) -> bool:
    """Whether ``text`` is one well-formed final answer."""
    if len(text) > _LONGEST:
        return False
    text = text.translate(words.UNICODE).strip().removesuffix(".")
    parser = _Parser(_SHORT_FRACTION.sub(r"\1{\2}{\3}", text))
    try:
        parser.answers()
    except _NoAnswerError:
        return False
    return parser.at_end


class _Parser:
    """Reads tokens from the left; each method takes one construct or raises ``_NoAnswerError``."""

    def __init__(self, text: str) -> None:
        matches = [match for match in _TOKEN.finditer(text) if match.lastgroup != "space"]
        self._text = text
        self._matches = matches
        self._place = 0
        self._depth = 0
        self._open_bars: list[str] = []

    @property
    def at_end(self) -> bool:
        """Whether every token was taken."""
        return self._place == len(self._matches)

    def answers(self) -> None:
        """A list of relations."""
        self._relation()
        while self._take_any(words.SEPARATORS) or self._take_joining_text():
            self._relation()

    def _relation(self) -> None:
        self._sum()
        while self._take_any(words.RELATIONS) or self._take_bar_as_relation():
            self._sum()

    def _take_bar_as_relation(self) -> bool:
        """In ``\\{x | x > 0\\}`` the bar stands between, if none is open."""
        return self._depth > 0 and not self._open_bars and self._take_any({"|"})

    def _sum(self) -> None:
        self._product()
        while self._take_any(words.ADDING):
            self._product()

    def _product(self) -> None:
        self._signed_factor()
        while True:
            if self._take_any(words.MULTIPLYING):
                self._signed_factor()
            elif self._starts_factor():
                self._refuse_sentence()
                self._factor()
            else:
                return

    def _refuse_sentence(self) -> None:
        """Two words side by side are prose; so are two numbers, other than 1 000."""
        previous, current = self._matches[self._place - 1], self._matches[self._place]
        if previous.lastgroup != current.lastgroup:
            return
        if current.lastgroup == "word" and len(current[0]) > 1:
            raise _NoAnswerError
        if current.lastgroup == "number" and len(current[0]) != len("000"):
            raise _NoAnswerError

    def _signed_factor(self) -> None:
        while self._take_any(words.SIGNS):
            pass
        self._factor()

    def _starts_factor(self) -> bool:
        token = self._peek()
        if token in words.BARS and (self._depth > 0 or self._open_bars):
            return False  # after an operand in brackets a bar closes, or stands between
        return token is not None and (
            self._matches[self._place].lastgroup in ("number", "word")
            or token in words.STARTS
            or (token in words.TEXT and not self._joining_text_ahead())
        )

    def _factor(self) -> None:
        self._atom()
        self._postfixes()

    def _postfixes(self) -> None:
        while True:
            if self._take_any({"^", "_", "**"}):
                self._argument()
            elif not self._take_any({"!", "%", "'", "\\%", "\\degree"}):
                return

    def _argument(self) -> None:
        """What follows ``^``, ``_`` or ``\\frac``: a group, or one signed atom."""
        while self._take_any(words.SIGNS):
            pass
        self._atom()

    def _atom(self) -> None:
        """Every recursion passes here."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _NoAnswerError
        self._any_atom()
        self._depth -= 1

    def _any_atom(self) -> None:
        token = self._peek()
        if token is None:
            raise _NoAnswerError
        if token in words.BRACKETS:
            self._bracketed()
            return
        kind = self._matches[self._place].lastgroup
        self._place += 1
        if kind in ("number", "word") or token in words.CONSTANTS:
            return
        if token in words.FUNCTIONS:
            self._postfixes()
            self._signed_factor()
        else:
            self._command(token)

    def _command(self, token: str) -> None:
        if token in words.TWO_ARGUMENTS:
            self._argument()
            self._argument()
        elif token in words.ONE_ARGUMENT:
            self._argument()
        elif token in words.TEXT:
            self._raw_group()
        elif token == "\\sqrt":
            if self._peek() == "[":
                self._bracketed()
            self._argument()
        elif token == "\\begin":
            self._environment()
        else:
            raise _NoAnswerError

    def _bracketed(self) -> None:
        opening = self._next()
        if opening == "\\{" and self._take_any({"\\}"}):
            return  # the empty set
        bars = self._open_bars
        # Inside other brackets a bar opens anew.
        self._open_bars = [*bars, opening] if opening in words.BARS else []
        self.answers()
        self._open_bars = bars
        if self._next() not in words.BRACKETS[opening]:
            raise _NoAnswerError

    def _environment(self) -> None:
        begin = self._raw_group()
        if not words.ENVIRONMENTS.fullmatch(begin):
            raise _NoAnswerError
        if begin.startswith("{array"):
            self._raw_group()  # its columns
        while True:
            if self._take_any({"\\end"}):
                break
            if not self._take_any({"&", "\\\\"}):
                self.answers()
        if self._raw_group() != begin:
            raise _NoAnswerError

    def _raw_group(self) -> str:
        """A group of anything without braces, as it is written."""
        if self._peek() != "{":
            raise _NoAnswerError
        start = self._matches[self._place].start()
        while (token := self._next()) != "}":
            if token == "{" and self._matches[self._place - 1].start() != start:
                raise _NoAnswerError
        return self._text[start : self._matches[self._place - 1].end()]

    def _take_joining_text(self) -> bool:
        token = self._peek()
        if token in words.JOINING_TEXT:
            self._place += 1
            return True
        if token in words.TEXT and self._joining_text_ahead():
            self._place += 1
            self._raw_group()
            return True
        return False

    def _joining_text_ahead(self) -> bool:
        ahead = [match[0] for match in self._matches[self._place + 1 : self._place + 4]]
        return (
            len(ahead) == 3
            and ahead[0] == "{"
            and ahead[1] in words.JOINING_TEXT
            and ahead[2] == "}"
        )

    def _take_any(self, wanted: frozenset[str] | set[str]) -> bool:
        if self._peek() not in wanted:
            return False
        self._place += 1
        return True

    def _peek(self) -> str | None:
        return None if self.at_end else self._matches[self._place][0]

    def _next(self) -> str:
        token = self._peek()
        if token is None:
            raise _NoAnswerError
        self._place += 1
        return token
