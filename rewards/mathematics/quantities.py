"""A number with what stands around it: currency in front, a unit behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rewards.mathematics import units
from rewards.mathematics.answers import Scalar, Unit
from rewards.mathematics.expressions import parse
from rewards.mathematics.limits import UnreadableError
from rewards.mathematics.syntax import add, number, times
from rewards.mathematics.tokens import FUNCTIONS, Token, closing

_CURRENCY = {"eur", "gbp", "yen", "usd", "USD", "EUR"}
_LONG_WORD = 4


def read_scalar(tokens: Sequence[Token]) -> Scalar:
    """An expression, with the unit or currency that it carries."""
    tokens, currency = _without_currency(tokens)
    if not tokens:
        raise UnreadableError("a unit without a number")
    scalar = _measured(tokens)
    if currency is None:
        return scalar
    if scalar.unit not in (None, currency):
        raise UnreadableError("two units")
    return Scalar(scalar.node, currency)


def _without_currency(tokens: Sequence[Token]) -> tuple[Sequence[Token], Unit | None]:
    sign, start = tokens[:1], 1 if tokens[0].is_mark("-", "+") else 0
    head = tokens[start] if start < len(tokens) else tokens[0]
    if head.is_command("$"):
        unit: Unit | None = units.DOLLAR
    elif head.kind == "text" and head.text in _CURRENCY:
        unit = units.UNITS[head.text]
    else:
        return tokens, None
    return (*sign[:start], *tokens[start + 1 :]), unit


def _measured(tokens: Sequence[Token]) -> Scalar:
    end = _prose_start(tokens)
    if end is not None:
        if end == 0:
            raise UnreadableError("prose around a formula")
        return _with_prose(tokens, end)
    if len(tokens) > 2 and tokens[-2].is_command("degree") and tokens[-1].text in ("C", "F"):
        scale = "celsius" if tokens[-1].text == "C" else "fahrenheit"
        return Scalar(parse(tokens[:-2]), units.UNITS[scale])
    if tokens[-1].is_mark("%"):
        return Scalar(parse(tokens[:-1]), units.PERCENT)
    if tokens[-1].is_command("degree"):
        return _degrees(tokens)
    return _plain(tokens)


def _with_prose(tokens: Sequence[Token], end: int) -> Scalar:
    """A number, the prose behind it, and perhaps a smaller part: 3 hours 30 minutes."""
    node = parse(tokens[:end])
    scale = units.SCALES.get(tokens[end].text.split()[0].lower()) if tokens[end].text else None
    if scale is not None:
        node = times(node, number(scale))
        rest = " ".join(tokens[end].text.split()[1:])
        behind = ([replace(tokens[end], text=rest)] if rest else []) + list(tokens[end + 1 :])
        return Scalar(node, _unit(behind) if behind else None)
    for place in range(end + 1, len(tokens)):
        if tokens[place].kind == "number" and tokens[place - 1].kind == "text":
            return _added(Scalar(node, _unit(tokens[end:place])), read_scalar(tokens[place:]))
    return Scalar(node, _unit(tokens[end:]))


def _added(whole: Scalar, part: Scalar) -> Scalar:
    if whole.unit is None or part.unit is None or whole.unit.powers != part.unit.powers:
        raise UnreadableError("two quantities that do not add up")
    share = times(number(part.unit.factor / whole.unit.factor), part.node)
    return Scalar(add(whole.node, share), whole.unit)


def _unit(tokens: Sequence[Token]) -> Unit | None:
    text = units.source(tokens)
    unit = units.parse_unit(text)
    return unit if unit.powers and unit != units.UNITS["unit"] else None


def _degrees(tokens: Sequence[Token]) -> Scalar:
    r"""An angle; behind a function the sign belongs to its argument (``\sin 30^\circ``)."""
    if any(token.is_command(*FUNCTIONS) for token in tokens):
        return Scalar(parse(tokens))
    return Scalar(parse(tokens[:-1]), units.DEGREE)


def _plain(tokens: Sequence[Token]) -> Scalar:
    """Letters behind a number may be a unit without any markup: ``5 cm``, ``12 apples``."""
    start = _letters_start(tokens)
    if start is None:
        return Scalar(parse(tokens))
    guessed = len(tokens[start].word) == 1 and not tokens[start].spaced
    measured = Scalar(parse(tokens[:start]), _unit(tokens[start:]), guessed)
    if not units.is_unit_word(tokens[start].word) and not tokens[start].word.isalpha():
        return measured
    try:
        return replace(measured, otherwise=Scalar(parse(tokens)))
    except UnreadableError:
        return measured


def _letters_start(tokens: Sequence[Token]) -> int | None:
    """Where a spelled unit starts: a known one, or a long word after a space."""
    for place in range(1, len(tokens)):
        token = tokens[place]
        if not (token.kind == "letter" and token.first):
            if token.kind == "letter":
                return None
            continue
        known = units.is_unit_word(token.word)
        after_number = tokens[place - 1].kind in ("number", "close")
        if after_number and (known or (len(token.word) >= _LONG_WORD and token.spaced)):
            return place
        return None
    return None


def _prose_start(tokens: Sequence[Token]) -> int | None:
    """Where prose starts outside of brackets, or a fraction that holds prose."""
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token.kind == "text" or (place > 0 and _is_prose(token)):
            return place
        if place > 0 and token.is_command("frac"):
            end = _fraction_end(tokens, place)
            if any(_is_prose(part) for part in tokens[place:end]):
                return place
        place = closing(tokens, place) + 1 if token.kind == "open" else place + 1
    return None


def _is_prose(token: Token) -> bool:
    return token.kind == "text" or (token.upright and units.is_unit_word(token.text))


def _fraction_end(tokens: Sequence[Token], place: int) -> int:
    place += 1
    for _ in range(2):
        if place < len(tokens):
            place = closing(tokens, place) + 1 if tokens[place].kind == "open" else place + 1
    return place
