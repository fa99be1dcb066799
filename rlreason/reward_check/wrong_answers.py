r"""Answers that look like the right one and are wrong by any reading.

By any reading: "7.0" for "7", or \frac12 for 0.5, is no wrong answer. Where it cannot be told what
an answer means, fewer are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

_NUMBER = re.compile(r"[+-]?[0-9]{1,50}(?:\.[0-9]{1,50}|/[0-9]{1,50})?")
_FRAC = re.compile(r"([+-]?)\\[dt]?frac\{([0-9]{1,50})\}\{([0-9]{1,50})\}")
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ ,.'-]+[^\W\d_]+)*[.]?")
_ROLE = re.compile(r"(?<=\bis a )\w+|(?<=\bis an )\w+")
_CHOICE = re.compile(r"\(?([A-J])\)?")
_OPPOSITES = (("yes", "no"), ("true", "false"), ("left", "right"), ("north", "south"))
_UNCHANGED_BY_ADDING_1 = ("infty", "+C", "+ C", "+c", "+ c")


def is_words(answer: str) -> bool:
    """Whether ``answer`` is plain words, to be compared as text."""
    return _WORDS.fullmatch(answer) is not None


def wrong_answers(answer: str, others: Sequence[str] = ()) -> list[str]:
    """Up to about six wrong answers, those that are most alike first.

    Args:
        answer: The right one.
        others: Right answers of other problems; used where both are plain words.
    """
    answer = answer.strip()
    number = as_number(answer)
    if number is not None:
        return _distinct(_wrong_numbers(answer, number))
    if choice := _CHOICE.fullmatch(answer):
        letter = choice[1]
        return [answer.replace(letter, "A" if letter == "J" else chr(ord(letter) + 1))]
    if is_words(answer):
        candidates = [*_wrong_words(answer), *filter(is_words, others)]
        return _distinct(text for text in candidates if text.casefold() != answer.casefold())[:6]
    if not answer or any(sign in answer for sign in _UNCHANGED_BY_ADDING_1):
        return []
    return [f"{answer}+1", f"{answer}-1"]


def as_number(answer: str) -> Fraction | None:
    """The rational that ``answer`` spells plainly, or None."""
    try:
        if _NUMBER.fullmatch(answer):
            return Fraction(answer)
        if frac := _FRAC.fullmatch(answer):
            return Fraction(f"{frac[1]}{frac[2]}/{frac[3]}")
    except ZeroDivisionError:
        return None
    return None


def _wrong_numbers(answer: str, number: Fraction) -> Iterator[str]:
    """In the answer's own form; what is equal after all, such as -0, is left out."""
    if frac := _FRAC.fullmatch(answer):
        sign, above, below = frac.groups()
        candidates = [
            rf"{sign}\frac{{{int(above) + 1}}}{{{below}}}",
            rf"{sign}\frac{{{above}}}{{1}}",
        ]
        candidates.append(rf"{sign}\frac{{{below}}}{{{above}}}" if int(above) else "1")
    else:
        above, slash, below = answer.partition("/")
        whole, point, decimals = above.partition(".")
        rest = f"{point}{decimals}{slash}{below}"
        digits = whole.lstrip("+-")
        sign = whole.removesuffix(digits)
        candidates = [
            f"{int(whole) + 1}{rest}",
            f"{answer}1",  # holds the right one
            f"{sign}{digits[::-1]}{rest}",
            f"{'' if sign == '-' else '-'}{digits}{rest}",
        ]
    yield from (text for text in candidates if as_number(text) not in (None, number))


def _wrong_words(answer: str) -> Iterator[str]:
    roles = sorted(set(_ROLE.findall(answer)))
    if roles:
        other = [*roles[1:], "knave" if roles[0] != "knave" else "knight"][0]
        swap = {roles[0]: other, other: roles[0]}
        for count in (1, 0):  # one person wrong; everybody wrong
            yield _ROLE.sub(lambda role: swap.get(role[0], other), answer, count=count)
        return
    for one, other in _OPPOSITES:
        if answer.casefold() in (one, other):
            yield other if answer.casefold() == one else one
    yield answer[::-1]  # the same letters: as a product of symbols it would be equal
    yield f"not {answer}"


def _distinct(texts: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(texts))
