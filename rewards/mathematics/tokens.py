r"""Cuts normalised text into tokens: numbers, letters, commands, prose, brackets and operators.

A run of letters is prose when it is a word ("or", "dollars"), a command when it names a function
("sin"), and single letters otherwise, each of which remembers its run and its place in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rewards.mathematics.limits import MOST_TOKENS, TooMuchError, UnreadableError
from rewards.mathematics.normalize import group_end

TokenKind = Literal["number", "letter", "command", "text", "open", "close", "mark", "begin", "end"]

FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth arcsinh arccosh "
        "arctanh asin acos atan ln log lg exp sqrt abs floor ceil max min gcd lcm cbrt sgn",
    )
)
_COMMAND_WORDS = FUNCTIONS | frozenset(["pi", "infty", "theta", "alpha", "beta", "gamma", "lambda"])
_WORD_COMMANDS = {"infinity": "infty", "inf": "infty", "oo": "infty", "asin": "arcsin"}
CONNECTIVES = frozenset(["and", "or"])

_NUMBER = re.compile(
    r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+(?![0-9.]))?|[0-9]+\.(?![0-9])"
)
_COMMAND = re.compile(r"\\(?:[A-Za-z]+\*?|.)")
_LETTERS = re.compile(r"[A-Za-z]+")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([a-zA-Z]+)\*?\}(\s*\{[^{}]*\}|\s*\[[^\[\]]*\])?")
_OPEN, _CLOSE = "([{", ")]}"
_BRACKET_COMMANDS = {
    "{": "open", "langle": "open", "lfloor": "open", "lceil": "open",
    "}": "close", "rangle": "close", "rfloor": "close", "rceil": "close",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    r"""One symbol. ``text`` of a command is its name without the backslash."""

    kind: TokenKind
    text: str
    spaced: bool = False
    """Whether white space stands before it."""
    word: str = ""
    """The run of letters that a letter stands in."""
    first: bool = False
    """Whether a letter opens its run."""
    upright: bool = False
    r"""Whether a letter is set as prose: ``\text{m}``."""

    def is_mark(self, *texts: str) -> bool:
        """Whether it is one of these operators or brackets."""
        return self.kind in ("mark", "open", "close") and self.text in texts

    def is_command(self, *names: str) -> bool:
        """Whether it is one of these commands."""
        return self.kind == "command" and self.text in names


def tokenize(text: str) -> tuple[Token, ...]:
    """Tokens of normalised text.

    Raises:
        UnreadableError: A character that no answer holds.
        TooMuchError: More tokens than an answer may have.
    """
    tokens: list[Token] = []
    place = 0
    while place < len(text):
        spaced = text[place].isspace()
        place += spaced
        if not spaced or (place < len(text) and not text[place].isspace()):
            if place >= len(text):
                break
            place = _next(text, place, spaced, tokens)
        if len(tokens) > MOST_TOKENS:
            raise TooMuchError("too many symbols")
    return tuple(tokens)


def _next(text: str, place: int, spaced: bool, tokens: list[Token]) -> int:
    if match := _NUMBER.match(text, place):
        tokens.append(Token("number", match[0], spaced))
        return match.end()
    if match := _LETTERS.match(text, place):
        tokens.extend(_letters(match[0], spaced))
        return match.end()
    if match := _ENVIRONMENT.match(text, place):
        tokens.append(Token("begin" if match[1] == "begin" else "end", match[2], spaced))
        keeps = match[1] == "end" or not match[2].startswith("array")
        return match.end(2) + 1 if keeps and match[3] else match.end()
    if match := _COMMAND.match(text, place):
        return _command(match[0][1:], text, match.end(), spaced, tokens)
    tokens.append(_mark(text[place], spaced))
    return place + 1


def _mark(character: str, spaced: bool) -> Token:
    if character in _OPEN:
        return Token("open", character, spaced)
    if character in _CLOSE:
        return Token("close", character, spaced)
    if character in "+-*/^_=<>,;|!%&:'":
        return Token("mark", character, spaced)
    raise UnreadableError(f"no answer holds {character!r}")


def _command(name: str, text: str, place: int, spaced: bool, tokens: list[Token]) -> int:
    if name == "text" and text[place : place + 1] == "{":
        end = group_end(text, place)
        content = text[place + 1 : end - 1]
        tokens.extend(_prose(content, spaced))
        return end
    if name in _BRACKET_COMMANDS:
        kind: TokenKind = "open" if _BRACKET_COMMANDS[name] == "open" else "close"
        tokens.append(Token(kind, "\\" + name, spaced))
    elif name == "%":
        tokens.append(Token("mark", "%", spaced))
    else:
        tokens.append(Token("command", name, spaced))
    if name == "\\" and (match := re.match(r"\s*\[[^\[\]]*(?:pt|em|ex|mm|cm)\]", text[place:])):
        return place + match.end()  # the space asked for after a row
    return place


def _prose(content: str, spaced: bool) -> Sequence[Token]:
    word = content.strip().strip(",;") if content.strip(" ,;") else content.strip()
    if len(word) == 1 and word.isalpha():
        return [
            Token("letter", word, spaced or content[0].isspace(), word, first=True, upright=True)
        ]
    if word in FUNCTIONS and word not in ("min", "sec"):
        return _letters(word, spaced)
    if re.fullmatch(r"[A-Za-z\s,]*", word):
        pieces = re.split(r"\s*(\b(?:and|or|AND|OR)\b|,)\s*", word)
        return [_word(piece, spaced) for piece in pieces if piece]
    if amount := re.fullmatch(r"(\\?\$?[0-9][0-9.]*)\s*([A-Za-z][A-Za-z\s]*)", word):
        return [*tokenize(amount[1]), Token("text", amount[2], True)]
    if re.search(r"[A-Za-z]", word) and not re.search(r"[\\{}]", word):
        return [Token("text", word, spaced)]
    return tokenize(content)  # numbers set upright


def _word(word: str, spaced: bool) -> Token:
    return Token("mark", ",", spaced) if word == "," else Token("text", _connective(word), spaced)


def _connective(word: str) -> str:
    return word.lower() if word.lower() in CONNECTIVES else word


def _letters(run: str, spaced: bool) -> list[Token]:
    lowered = run.lower()
    if lowered in CONNECTIVES:
        return [Token("text", lowered, spaced)]
    if run in _COMMAND_WORDS or run in _WORD_COMMANDS:
        return [Token("command", _WORD_COMMANDS.get(run, run), spaced)]
    return [
        Token("letter", letter, spaced and place == 0, run, place == 0)
        for place, letter in enumerate(run)
    ]


def split(tokens: Sequence[Token], *separators: str) -> list[tuple[Token, ...]]:
    """Parts between those ``separators`` (texts of marks or commands) that no bracket encloses."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.kind in ("open", "begin")) - (token.kind in ("close", "end"))
        if depth < 0:
            raise UnreadableError("a bracket closes that never opened")
        if depth == 0 and _separates(token) and token.text in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    if depth:
        raise UnreadableError("a bracket that never closes")
    return [tuple(part) for part in parts]


def _separates(token: Token) -> bool:
    return token.kind in ("mark", "command") or (token.kind == "text" and token.text in CONNECTIVES)


def closing(tokens: Sequence[Token], start: int) -> int:
    """Index of the bracket that closes the one at ``start``, whatever its shape."""
    depth = 0
    for place in range(start, len(tokens)):
        token = tokens[place]
        depth += (token.kind in ("open", "begin")) - (token.kind in ("close", "end"))
        if depth == 0:
            return place
    raise UnreadableError("a bracket that never closes")


def is_enclosed(tokens: Sequence[Token]) -> bool:
    """Whether one pair of brackets holds everything."""
    return bool(tokens) and tokens[0].kind == "open" and closing(tokens, 0) == len(tokens) - 1
