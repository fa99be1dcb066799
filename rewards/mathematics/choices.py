"""Multiple choice: a single capital letter, bare or bracketed, perhaps with its text behind it."""

from __future__ import annotations

import re

_MARKUP = re.compile(r"\\text\s*|[{}]")
_GOLD = re.compile(r"\(?([A-Z])\)?[.:)]?")
_CHOICE = re.compile(r"(?:\(([A-Z])\)|([A-Z])(?:[.:)](?=\s|$)|$))(.*)", re.DOTALL)
_ANOTHER = re.compile(r"\([A-Z]\)|\b(?:or|and|not|maybe)\b|(?<![A-Za-z])[B-Z](?![A-Za-z(])")


def choice_of_gold(text: str) -> str | None:
    """The letter when ``text`` is nothing but a choice."""
    match = _GOLD.fullmatch(_plain(text))
    return match[1] if match else None


def choice_of(text: str) -> str | None:
    """The letter that ``text`` chooses; None when it names a second one."""
    match = _CHOICE.fullmatch(re.sub(r"^(?:option|choice|answer)\s+", "", _plain(text), flags=re.I))
    if match is None or _ANOTHER.search(match[3]):
        return None
    return match[1] or match[2]


def _plain(text: str) -> str:
    return " ".join(_MARKUP.sub("", text).split())
