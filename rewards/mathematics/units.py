"""Units of measure behind a number: what they are, and which of them are the same.

A word that is not in the table is a unit of its own ("apples"), so that it can contradict another.
Words that hedge or count are no units: an answer with one of them commits to nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from rewards.mathematics.answers import Unit
from rewards.mathematics.limits import UnreadableError
from rewards.mathematics.tokens import Token

# name = factor dimension powers; spellings. The factor may be a fraction.
_TABLE = """
1 m | m meter meters metre metres
1/100 m | cm centimeter centimeters centimetre centimetres
1/1000 m | mm millimeter millimeters millimetre
1000 m | km kilometer kilometers kilometre kilometres
127/5000 m | in inch inches
381/1250 m | ft foot feet
1143/1250 m | yd yard yards
201168/125 m | mi mile miles
1 g | g gram grams
1000 g | kg kilogram kilograms
1/1000 g | mg milligram milligrams
45359237/100000 g | lb lbs pound pounds
45359237/1600000 g | oz ounce ounces
1 s | s sec secs second seconds
60 s | min mins minute minutes
3600 s | h hr hrs hour hours
86400 s | day days
604800 s | week weeks
1 month | month months
12 month | year years yr yrs
1/1000 m3 | L l liter liters litre litres
1/1000000 m3 | mL ml milliliter milliliters
201168/450000 m s-1 | mph
5/18 m s-1 | kph kmh
1000 g m s-2 | N newton newtons
1000 g m2 s-2 | J joule joules
1000000 g m2 s-2 | kJ kilojoule kilojoules
1000 g m2 s-3 | W watt watts
1000000 g m2 s-3 | kW kilowatt kilowatts
1000 g m-1 s-2 | Pa pascal pascals
1 s-1 | Hz hertz
1 mol | mol mole moles
1 volt | V volt volts
1 ampere | A amp amps ampere amperes
1 ohm | ohm ohms
1 usd | usd USD dollar dollars
1/100 usd | cent cents
1 eur | eur EUR euro euros
1 gbp | gbp GBP
1 yen | yen JPY
1 percent | percent % pct percentage
1 degree | degree degrees deg
1 radian | rad radian radians
1 celsius | celsius
1 fahrenheit | fahrenheit
1 pm | pm PM
1 am | am AM
1 unit | unit units
"""
_GENERIC = frozenset(["square", "squared", "cubic", "cubed", "sq", "cu"])
_REFUSED = frozenset(
    re.findall(
        r"\w+",
        "or and not maybe approximately approx about roughly around either perhaps probably "
        "possibly wrong incorrect unless if likely else versus vs to between but then is are "
        "was nor both almost nearly exactly isnt none no yes true false guess think sure "
        "unsure answer other alternatively instead one two three four five six seven eight "
        "nine ten zero i we it plus minus times negative positive half third quarter fifth "
        "tenth tenths hundredth hundredths thousandth thousandths double twice triple less "
        "more least most than over under except",
    )
)
_PIECE = re.compile(r"([A-Za-z%]+)|(\^)|([+-]?[0-9]+)|([/()*.-])|\s+|(.)")
_SQUARED = {"squared": 2, "cubed": 3}
_SQUARE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_MOST_WORDS = 4


def _read_table() -> dict[str, Unit]:
    table: dict[str, Unit] = {}
    for line in _TABLE.strip().splitlines():
        meaning, names = line.split("|")
        factor, *dimensions = meaning.split()
        powers = []
        for dimension in dimensions:
            match = re.fullmatch(r"([a-z]+)(-?\d+)?", dimension)
            assert match is not None, "the table above is ours"
            powers.append((match[1], int(match[2] or 1)))
        table.update(dict.fromkeys(names.split(), Unit(Fraction(factor), frozenset(powers))))
    return table


UNITS = _read_table()
NONE = Unit(Fraction(1), frozenset())
PERCENT, DEGREE, DOLLAR = UNITS["percent"], UNITS["degree"], UNITS["usd"]
RADIAN = UNITS["radian"]


def is_unit_word(word: str) -> bool:
    """Whether the table knows ``word``."""
    return word in UNITS or word.lower() in UNITS


SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9,
          "trillion": 10**12, "dozen": 12}  # fmt: skip


def is_unnamed(unit: Unit) -> bool:
    """Whether it is "units" or "square units" of whatever the problem measures in."""
    return all(name == "unit" for name, _ in unit.powers)


def degree(unit: Unit) -> int:
    """Sum of the powers: 2 for an area, 3 for a volume."""
    return sum(power for _, power in unit.powers)


def is_refused(word: str) -> bool:
    """Whether ``word`` hedges or counts."""
    return word.lower() in _REFUSED


def source(tokens: Sequence[Token]) -> str:
    r"""The text of unit tokens: ``\frac{m}{s^2}`` becomes ``(m)/(s^2)``."""
    parts: list[str] = []
    fractions: list[int] = []  # depth of brackets at which an open \frac awaits its denominator
    depth = 0
    for token in tokens:
        if token.is_command("frac"):
            fractions.append(depth)
            continue
        depth += (token.kind == "open") - (token.kind == "close")
        parts.append(_spelled(token))
        if token.kind == "close" and fractions and fractions[-1] == depth:
            fractions.pop()
            parts.append("/")
    return "".join(parts)


def _spelled(token: Token) -> str:
    if token.is_command("cdot", "times"):
        return "*"
    if token.is_command("degree"):
        return " degree "
    if token.kind in ("open", "close"):
        return "(" if token.kind == "open" else ")"
    if token.kind == "letter":
        return f" {token.text}" if token.first else token.text
    return f" {token.text} " if token.kind == "text" else token.text


@lru_cache(maxsize=4096)
def parse_unit(text: str) -> Unit:
    """The unit that ``text`` names.

    Raises:
        UnreadableError: It hedges, counts, goes on for too long, or is no unit at all.
    """
    powers: Counter[str] = Counter()
    factor, sign, next_power, words = Fraction(1), 1, 1, 0
    last: Unit | None = None
    last_power = 0
    raising = False
    for match in _PIECE.finditer(text.replace("^(", "^").replace("**", "^")):
        word, caret, digits, mark, other = match.groups()
        if other or (digits and not (raising and last)) or (word and raising):
            raise UnreadableError(f"{text!r:.60} is no unit")
        raising = bool(caret) or (raising and match[0].isspace())
        if word:
            words += 1
            if word.lower() == "per":
                sign = -1
                continue
            if word.lower() in _SQUARE:
                next_power = _SQUARE[word.lower()]
                continue
            extra = _SQUARED.get(word.lower())
            if extra is None:
                last, last_power, next_power = _unit_of(word), sign * next_power, 1
                factor *= last.factor**last_power
                _multiply(powers, last, last_power)
                continue
            digits = str(extra)
        if digits and last is not None:
            more = last_power * (int(digits) - 1)
            factor *= last.factor**more
            _multiply(powers, last, more)
            last = None
        elif mark == "/":
            sign = -1
    if words > _MOST_WORDS:
        raise UnreadableError("more prose than a unit")
    return Unit(factor, frozenset((name, power) for name, power in powers.items() if power))


def _unit_of(word: str) -> Unit:
    lowered = word.lower()
    if is_refused(word):
        raise UnreadableError(f"{word!r:.40} commits to nothing")
    if word in UNITS or lowered in UNITS:
        return UNITS.get(word) or UNITS[lowered]
    if lowered in _GENERIC:
        return NONE
    singular = lowered.removesuffix("es") if lowered.endswith("shes") else lowered.removesuffix("s")
    return Unit(Fraction(1), frozenset([(singular, 1)]))


def _multiply(powers: Counter[str], unit: Unit, times: int) -> None:
    for name, power in unit.powers:
        powers[name] += power * times
