r"""The format check of the released code of arXiv 2505.19439, without what made it dangerous.

That code hands the box to sympy's ``parse_expr``, which evaluates python: it runs code out of the
model's text and never returns from ``9**9**9**9``. Here a grammar accepts what python's parser
would, and a bound on the size of numbers stands in for the hang. So, as there: any word passes
(``\boxed{idonotknow}``); half-open intervals, ``\pm``, ``\le``, ``\in`` and matrices fail.
Unlike there, quotes and attributes are no part of an answer.
"""

from __future__ import annotations

import keyword
import math
import re
from typing import Literal

FormatVerdict = Literal["right", "wrong", "over_limit"]

_LONGEST = 2000
_DEEPEST = 40
_MOST_DIGITS = 1e6
"""A power or factorial with more digits than this is what the released code never finishes."""

_LARGEST_FACTORIAL = 205_000
"""It has a million digits."""

_ANSWER = re.compile(r"<answer>(.*)</answer>", re.DOTALL)
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf)\{([^{}]*)\}")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
_JOIN = re.compile(r" (?:or|and) ")
_UNITS = re.compile(
    r"(?<![A-Za-z\\])(?:degree|cm|centimeter|meter|mile|second|minute|hour|day|week|month|year|"
    r"foot|feet|inch|yard)(?:es|s)?(?![A-Za-z])(?: *\^ *\d+)?"
)
_FRACTION = re.compile(r"\\[dtc]?frac *\{([^{}]*)\} *\{([^{}]*)\}")
_COMMAND = re.compile(r"\\(?:([A-Za-z]+)|(.))", re.DOTALL)
_DROPPED = frozenset({"left", "right", "circ", "displaystyle", "quad", "qquad"})
_SPELLED = {
    "cdot": "*", "times": "*", "pi": "pi", "infty": "inf", "cup": "U", "sqrt": "sqrt",
    "sin": "sin", "cos": "cos", "tan": "tan", "log": "log", "ln": "ln", "exp": "exp",
    **{name: name for name in ("alpha", "beta", "gamma", "theta", "phi", "omega")},
}  # fmt: skip
_ESCAPED = {"{": "", "}": "", "%": "", "$": "", "!": "", ",": "", " ": "", ";": "", "\\": " "}
_NO_PYTHON = "\N{REPLACEMENT CHARACTER}"

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<symbol>\*\*|//|==|!=|<=|>=|[-+*/%<>!,()\[\]])|(?P<other>.)",
    re.DOTALL,
)
_RELATIONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
_CLOSES = {"(": ")", "[": "]"}


class _PythonSyntaxError(Exception):
    """Python's parser would refuse it."""


class _TooLargeError(Exception):
    """Python would not finish it."""


def check_released(completion: str) -> FormatVerdict:
    """``right``, ``wrong``, or ``over_limit`` where the released code would hang."""
    answer = _extract(completion)
    if answer is None or len(answer) > _LONGEST:
        return "wrong"
    parser = _Parser(_as_python(answer))
    try:
        parser.whole()
    except _PythonSyntaxError:
        return "wrong"
    except _TooLargeError:
        return "over_limit"
    return "right"


def _extract(completion: str) -> str | None:
    if block := _ANSWER.search(completion):
        inside = block[1]
        if "\\boxed" in inside:
            return _last_box(inside)
        _, opening, rest = inside.rpartition("\\(")
        return rest.partition("\\)")[0] if opening and "\\)" in rest else inside
    return _last_box(completion.rpartition("</think>")[2])


def _last_box(text: str) -> str | None:
    """What the very last ``\\boxed`` holds; earlier ones never count."""
    _, found, rest = text.rpartition("\\boxed")
    if not found or not rest.startswith("{"):
        return None
    depth = 0
    for place, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[1:place]
    return None


def _as_python(answer: str) -> str:
    if _GROUPED.fullmatch(answer.strip()):
        return answer.strip().replace(",", "")
    text = _TEXT.sub(r"\1", answer)
    text = _JOIN.sub(",", text)
    text = text.replace(" million", "*10^6").replace(" billion", "*10^9")
    text = _UNITS.sub("", text)
    text = text.replace("^\\circ", "").replace("^{\\circ}", "")
    for _ in range(_DEEPEST):
        text, changed = _FRACTION.subn(r"(\1)/(\2)", text)
        if not changed:
            break
    text = _COMMAND.sub(_spell, text)
    text = re.sub(r"[$%{}\s]", "", text).lower()
    text = re.sub(r"(?<![=<>!])=(?!=)", "==", text)
    return text.replace("^", "**")


def _spell(command: re.Match[str]) -> str:
    if command[2] is not None:
        return _ESCAPED.get(command[2], _NO_PYTHON)
    return "" if command[1] in _DROPPED else _SPELLED.get(command[1], _NO_PYTHON)


class _Parser:
    """Python's expressions with implicit multiplication.

    A method returns the size of what it read where that is a number, else None.
    """

    def __init__(self, text: str) -> None:
        self._matches = list(_TOKEN.finditer(text))
        self._place = 0
        self._depth = 0

    def whole(self) -> None:
        self._list()
        if self._peek() is not None:
            raise _PythonSyntaxError

    def _list(self) -> float | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _PythonSyntaxError
        size, single = self._relation(), True
        while self._take(","):
            single = False
            if self._peek() in (None, ")", "]"):
                break
            self._relation()
        self._depth -= 1
        return size if single else None

    def _relation(self) -> float | None:
        size = self._sum()
        while self._peek() in _RELATIONS:
            self._place += 1
            self._sum()
            size = None
        return size

    def _sum(self) -> float | None:
        size = self._product()
        while self._peek() in ("+", "-"):
            self._place += 1
            size = _largest(size, self._product())
        return size

    def _product(self) -> float | None:
        size = self._signed()
        while True:
            if self._peek() in ("*", "/", "//", "%"):
                self._place += 1
                size = _times(size, self._signed())
            elif self._starts_operand():
                size = _times(size, self._power())
            else:
                return size

    def _starts_operand(self) -> bool:
        return self._kind() in ("number", "name") or self._peek() == "("

    def _signed(self) -> float | None:
        while self._peek() in ("+", "-"):
            self._place += 1
        return self._power()

    def _power(self) -> float | None:
        base = self._operand()
        while self._take("!"):
            base = _factorial(base)
        if not self._take("**"):
            return base
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _TooLargeError
        exponent = self._signed()
        self._depth -= 1
        return _raised(base, exponent)

    def _operand(self) -> float | None:
        kind, token = self._kind(), self._peek()
        if token is None:
            raise _PythonSyntaxError
        self._place += 1
        if kind == "number":
            if re.fullmatch(r"0\d+", token):
                raise _PythonSyntaxError
            return abs(float(token))
        if kind == "name" and not keyword.iskeyword(token):
            return None
        if token not in _CLOSES:
            raise _PythonSyntaxError
        size = None if self._peek() == _CLOSES[token] else self._list()
        if not self._take(_CLOSES[token]):
            raise _PythonSyntaxError
        return size if token == "(" else None

    def _take(self, wanted: str) -> bool:
        if self._peek() != wanted:
            return False
        self._place += 1
        return True

    def _peek(self) -> str | None:
        return self._matches[self._place][0] if self._place < len(self._matches) else None

    def _kind(self) -> str | None:
        return self._matches[self._place].lastgroup if self._place < len(self._matches) else None


def _largest(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left + right


def _times(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left * max(right, 1.0)


def _factorial(size: float | None) -> float | None:
    if size is None:
        return None
    if size > _LARGEST_FACTORIAL:
        raise _TooLargeError
    return math.exp(min(math.lgamma(size + 1), 690.0))


def _raised(base: float | None, exponent: float | None) -> float | None:
    if base is None or exponent is None:
        return None
    digits = exponent * math.log10(base) if base > 1 else 0.0
    if digits > _MOST_DIGITS:
        raise _TooLargeError
    return 10.0 ** min(digits, 300.0)
