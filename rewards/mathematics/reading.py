r"""From the text of an answer to its shape: lists first, then relations, then single values.

``read`` is the only entrance. It raises UnreadableError for text that is no answer or commits to
none, and TooMuchError for text beyond the limits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from rewards.mathematics import bases, intervals, matrices, relations
from rewards.mathematics.answers import Answer, Group, Scalar, Words
from rewards.mathematics.collections_ import enclosed, flatten, union
from rewards.mathematics.limits import MOST_ITEMS, TooMuchError, UnreadableError, check_text
from rewards.mathematics.numbers import rewrite_repeating
from rewards.mathematics.quantities import read_scalar
from rewards.mathematics.syntax import divide, number
from rewards.mathematics.tokens import CONNECTIVES, Token, is_enclosed, split, tokenize

_PREFIX = re.compile(
    r"\s*(?:\\text\s*\{)?\s*(?:so |thus |therefore )?(?:the )?(?:final |correct )?"
    r"(?:answer|result|value)\s*(?:is|:|=)+:?\s*\}?\s*:?",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"[+-]?(?:\\\$)?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9,])")
_WORDS = re.compile(r"(?=.*[A-Za-z]{3})[A-Za-z][A-Za-z' ]*")
_NUMBER_WORDS = {
    name: value
    for value, name in enumerate(
        re.findall(
            r"\w+",
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
            "fifteen sixteen seventeen eighteen nineteen twenty",
        )
    )
}
_HEXADECIMAL = re.compile(r"0[xX](?=.*[0-9A-F])[0-9A-Fa-f]{2,64}")
_PROSE = re.compile(r"[\w\s',.:-]+")


@lru_cache(maxsize=8192)
def read(text: str) -> Answer:
    """The shape of normalised ``text``."""
    check_text(text)
    text = _PREFIX.sub("", text, count=1).strip()
    if words := read_words(text):
        value = _NUMBER_WORDS.get(words.text)
        return words if value is None else Scalar(number(value))
    if _HEXADECIMAL.fullmatch(text):
        return Scalar(number(int(text, 16)))
    text = rewrite_repeating(text)
    grouped = _THOUSANDS.match(text)
    if grouped is None:
        return _read(tokenize(text))
    joined = _read(tokenize(grouped[0].replace(",", "") + text[grouped.end() :]))
    could_be_list = grouped.end() == len(text) and ",0" not in text
    apart = _read(tokenize(text)) if could_be_list else None
    return Group("list", apart.items, joined) if isinstance(apart, Group) else joined


def read_words(text: str) -> Words | None:
    r"""Prose, set upright or not: ``\text{Tuesday}``, ``Tuesday``, ``not enough information``."""
    plain = re.sub(r"\\text\s*\{([^{}\\]*)\}", r" \1 ", text)
    plain = " ".join(plain.replace("{", " ").replace("}", " ").split()).strip(" .,;:")
    upright = plain if "\\text" in text and _PROSE.fullmatch(plain) else ""
    if upright and not re.search(r"\d", upright) and re.search(r"[A-Za-z]{2}", upright):
        return None if _splits(upright) else Words(upright.casefold())
    if _WORDS.fullmatch(plain) and not _splits(plain) and not _is_formula(plain):
        return Words(plain.casefold())
    return None


def _splits(text: str) -> bool:
    return any(word in CONNECTIVES for word in text.lower().split()) or "," in text


def _is_formula(text: str) -> bool:
    return any(token.kind == "command" for token in tokenize(text))


def _read(tokens: Sequence[Token]) -> Answer:
    """A list of answers, or one."""
    tokens = _unwrapped(tokens)
    if not tokens:
        raise UnreadableError("nothing to read")
    ored = split(tokens, "or")
    if len(ored) > 1:
        return union([_read(part) for part in ored if part])
    parts = [part for anded in split(tokens, "and") for part in split(anded, ",", ";") if part]
    if len(parts) > MOST_ITEMS:
        raise TooMuchError("too many items")
    if len(parts) > 1:
        items = [read_item(part) for part in parts]
        return intervals.both(items) or Group("list", flatten(items))
    return read_item(parts[0] if parts else ())


def read_item(tokens: Sequence[Token]) -> Answer:
    """One answer: no comma or connective outside of brackets."""
    tokens = _unwrapped(tokens)
    if not tokens:
        raise UnreadableError("nothing to read")
    is_set = is_enclosed(tokens) and tokens[0].text == "\\{"
    if not is_set and any(token.is_command("pm", "mp") for token in tokens):
        return _plus_and_minus(tokens)
    if relations.is_relation(tokens):
        return relations.read_relation(tokens, read_item)
    if matrices.is_matrix(tokens):
        return matrices.read_matrix(tokens)
    return intervals.read_region(tokens, read_item) or _value(tokens)


def _value(tokens: Sequence[Token]) -> Answer:
    """A collection, a number in a base, a ratio, prose or an expression with its unit."""
    if is_enclosed(tokens) and (inside := enclosed(tokens, read_item)):
        return inside
    ratio = split(tokens, ":")
    if len(ratio) > 1:
        return read_ratio(ratio)
    return bases.read_based(tokens) or _item_words(tokens) or read_scalar(tokens)


def read_ratio(parts: Sequence[Sequence[Token]]) -> Answer:
    """``3:4`` is the number 3/4; ``3:4:5`` are its terms divided by the first."""
    terms = [read_scalar(part) for part in parts if part]
    if len(terms) != len(parts) or any(term.unit for term in terms[:-1]):
        raise UnreadableError("a ratio of what is no number")
    if len(terms) == 2:
        return Scalar(divide(terms[0].node, terms[1].node), terms[1].unit)
    return Group("(", tuple(Scalar(divide(term.node, terms[0].node)) for term in terms))


def _item_words(tokens: Sequence[Token]) -> Words | None:
    if tokens[0].kind == "text" and all(token.kind in ("text", "letter") for token in tokens):
        return Words(" ".join(token.text for token in tokens).casefold())
    run = tokens[0].word
    if len(run) >= 3 and len(tokens) == len(run) and all(token.word == run for token in tokens):
        return Words(run.casefold())
    return None


def _plus_and_minus(tokens: Sequence[Token]) -> Answer:
    readings = []
    for plus, minus in (("+", "-"), ("-", "+")):
        signs = {"pm": plus, "mp": minus}
        chosen = [
            Token("mark", signs[token.text], token.spaced)
            if token.is_command("pm", "mp")
            else token
            for token in tokens
        ]
        readings.append(read_item(chosen))
    return Group("list", flatten(readings))


def _unwrapped(tokens: Sequence[Token]) -> Sequence[Token]:
    while is_enclosed(tokens) and tokens[0].text == "{" and tokens[-1].text == "}":
        tokens = tokens[1:-1]
    return tokens
