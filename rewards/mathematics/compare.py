"""Whether two answers are the same, shape against shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from rewards.mathematics import intervals, numeric, units
from rewards.mathematics.answers import (
    Answer,
    Group,
    Labeled,
    Matrix,
    Region,
    Relation,
    Scalar,
    Unit,
    Words,
)
from rewards.mathematics.limits import UnreadableError
from rewards.mathematics.numbers import exact
from rewards.mathematics.syntax import (
    Node,
    constant,
    divide,
    number,
    subtract,
    symbol,
    symbols_of,
    times,
)

_HALF_TURN = divide(constant("pi"), number(180))


def same(gold: Answer, answer: Answer) -> bool:
    """Whether ``answer`` says what ``gold`` says."""
    for expected in _readings(gold):
        if any(_same(expected, given) for given in _readings(answer)):
            return True
    return False


def _readings(answer: Answer) -> list[Answer]:
    if isinstance(answer, Scalar | Group) and answer.otherwise is not None:
        return [answer, answer.otherwise]
    return [answer]


def _same(gold: Answer, answer: Answer) -> bool:
    gold, answer = _single(gold), _single(answer)
    kinds = {type(gold), type(answer)}
    for shapes, decide in _RULES:
        if kinds & shapes:
            return decide(gold, answer)
    return False


def _single(answer: Answer) -> Answer:
    """A set or list of one is its member; named pairs in a list are a tuple with names."""
    if not isinstance(answer, Group) or answer.kind not in ("list", "set") or not answer.items:
        return answer
    first = answer.items[0]
    nested = answer.kind == "set" and isinstance(first, Region | Group)
    if nested or not all(same(first, item) for item in answer.items[1:]):
        return answer
    return first


def _same_words(gold: Answer, answer: Answer) -> bool:
    return gold == answer


def _same_scalar(gold: Answer, answer: Answer) -> bool:
    """Whether two quantities are equal; a unit that one of them lacks is no difference."""
    if not isinstance(gold, Scalar) or not isinstance(answer, Scalar):
        return False
    if gold.unit is None and answer.unit is None:
        return numeric.equal(gold.node, answer.node)
    if gold.unit is not None and answer.unit is not None:
        return _same_quantity(gold.node, gold.unit, answer.node, answer.unit)
    if gold.is_unit_guessed or answer.is_unit_guessed:
        return False  # as a factor, it is compared by the other reading
    unit = gold.unit or answer.unit
    assert unit is not None, "one of them has a unit"
    bare, measured = (gold.node, answer.node) if gold.unit is None else (answer.node, gold.node)
    converted = _pure(measured, unit)
    if converted is not None and numeric.equal(bare, converted):
        return True
    return not _is_share(bare, unit) and numeric.equal(gold.node, answer.node)


def _is_share(bare: Node, unit: Unit) -> bool:
    """A number below one is a share already: 0.5 is not 0.5 %."""
    value = exact(bare)
    return unit == units.PERCENT and value is not None and -1 < value < 1


def _pure(node: Node, unit: Unit) -> Node | None:
    """A percentage or an angle as a number without unit."""
    if unit == units.PERCENT:
        return divide(node, number(100))
    return times(node, _HALF_TURN) if unit == units.DEGREE else None


def _same_quantity(gold: Node, gold_unit: Unit, node: Node, unit: Unit) -> bool:
    if {gold_unit, unit} == {units.DEGREE, units.RADIAN}:
        turned = [
            times(side, _HALF_TURN) if its == units.DEGREE else side
            for side, its in ((gold, gold_unit), (node, unit))
        ]
        return numeric.equal(turned[0], turned[1])
    if gold_unit.powers != unit.powers:
        unnamed = units.is_unnamed(gold_unit) or units.is_unnamed(unit)
        return (
            unnamed and units.degree(gold_unit) == units.degree(unit) and numeric.equal(gold, node)
        )
    scale: Fraction = unit.factor / gold_unit.factor
    return numeric.equal(gold, node if scale == 1 else times(number(scale), node))


def _same_region(first_answer: Answer, second_answer: Answer) -> bool:
    gold, answer = intervals.to_region(first_answer), intervals.to_region(second_answer)
    if gold is None or answer is None:
        return False
    if gold.variable and answer.variable and gold.variable != answer.variable:
        return False
    try:
        first, second = intervals.joined(gold).pieces, intervals.joined(answer).pieces
    except UnreadableError:
        return False
    return len(first) == len(second) and all(
        (left.low_closed, left.high_closed) == (right.low_closed, right.high_closed)
        and numeric.equal(left.low, right.low)
        and numeric.equal(left.high, right.high)
        for left, right in zip(first, second, strict=True)
    )


def _same_matrix(gold: Answer, answer: Answer) -> bool:
    first, second = _as_rows(gold), _as_rows(answer)
    if first is None or second is None:
        return False
    if isinstance(gold, Group) or isinstance(answer, Group):
        first, second = _as_column(first), _as_column(second)
    return [len(row) for row in first] == [len(row) for row in second] and all(
        numeric.equal(left, right)
        for above, below in zip(first, second, strict=True)
        for left, right in zip(above, below, strict=True)
    )


Rows = Sequence[Sequence[Node]]


def _as_rows(answer: Answer) -> Rows | None:
    if isinstance(answer, Matrix):
        return answer.rows
    if not isinstance(answer, Group) or answer.kind not in ("(", "["):
        return None
    nested = [_as_rows(item) for item in answer.items if isinstance(item, Group)]
    if nested:
        rows = [row[0] for row in nested if row is not None and len(row) == 1]
        return rows if len(rows) == len(answer.items) else None
    nodes = [item.node for item in answer.items if isinstance(item, Scalar)]
    return [nodes] if len(nodes) == len(answer.items) else None


def _as_column(rows: Rows) -> Rows:
    """A vector, lying or standing, as a column; a matrix as it is."""
    return [[entry] for entry in rows[0]] if len(rows) == 1 else rows


def _same_group(gold: Answer, answer: Answer) -> bool:
    if not isinstance(gold, Group) or not isinstance(answer, Group):
        return False
    unordered = ("list", "set")
    if gold.kind in unordered and answer.kind in unordered:
        return _covers(gold.items, answer.items) and _covers(answer.items, gold.items)
    if gold.kind in unordered or answer.kind in unordered:
        loose, ordered = (gold, answer) if gold.kind in unordered else (answer, gold)
        return _same_assignments(loose, ordered)
    if len(gold.items) != len(answer.items):
        return False
    if gold.kind != answer.kind and len(gold.items) == 2:
        return False
    return all(same(left, right) for left, right in zip(gold.items, answer.items, strict=True))


def _covers(first: Sequence[Answer], second: Sequence[Answer]) -> bool:
    return all(any(same(item, other) for other in second) for item in first)


def _same_assignments(loose: Group, ordered: Group) -> bool:
    """``x = 1, y = 2`` is the point (1, 2): names in alphabetical order."""
    named = {item.names[0]: item.value for item in loose.items if isinstance(item, Labeled)}
    if len(named) != len(loose.items) or len(named) != len(ordered.items):
        return False
    values = (value for _, value in sorted(named.items()))
    return all(same(left, right) for left, right in zip(values, ordered.items, strict=True))


def _same_relation(gold: Answer, answer: Answer) -> bool:
    if isinstance(gold, Labeled) and isinstance(answer, Labeled):
        if sorted(gold.names) == sorted(answer.names):
            return same(_in_order(gold), _in_order(answer))
    elif isinstance(gold, Labeled) and not isinstance(answer, Relation):
        return same(_in_order(gold), answer)
    elif isinstance(answer, Labeled) and not isinstance(gold, Relation):
        return same(gold, _in_order(answer))
    relations = _as_relation(gold), _as_relation(answer)
    return None not in relations and _proportional(relations[0], relations[1])


def _in_order(labeled: Labeled) -> Answer:
    """The value; of several names, the values in the order of the alphabet."""
    value = labeled.value
    if not isinstance(value, Group) or len(labeled.names) != len(value.items) or not value.items:
        return value
    if len(labeled.names) == 1:
        return value
    pairs = sorted(zip(labeled.names, value.items, strict=True), key=lambda pair: pair[0])
    return Group(value.kind, tuple(item for _, item in pairs))


def _as_relation(answer: Answer) -> Relation | None:
    if isinstance(answer, Relation):
        return answer
    if isinstance(answer, Region):
        return _half_line(answer)
    return answer.relation if isinstance(answer, Labeled) else None


def _half_line(region: Region) -> Relation | None:
    """``x > 3`` as a relation, to be compared with ``2x > 6``."""
    if len(region.pieces) != 1 or region.variable is None:
        return None
    piece, name = region.pieces[0], symbol(region.variable)
    if piece.high == intervals.INFINITY:
        return Relation("<=" if piece.low_closed else "<", subtract(piece.low, name))
    if piece.low == intervals.MINUS_INFINITY:
        return Relation("<=" if piece.high_closed else "<", subtract(name, piece.high))
    return None


def _proportional(gold: Relation | None, answer: Relation | None) -> bool:
    """Whether the two sides differ by the same amount, up to a factor that is not zero."""
    if gold is None or answer is None or gold.operator != answer.operator:
        return False
    letters = symbols_of(gold.difference)
    if letters != symbols_of(answer.difference):
        return False
    ratio = numeric.constant_ratio(gold.difference, answer.difference)
    return ratio is not None and (gold.operator in ("=", "!=") or ratio > 0)


_RULES: tuple[tuple[set[type], Callable[[Answer, Answer], bool]], ...] = (
    ({Words}, _same_words),
    ({Relation, Labeled}, _same_relation),
    ({Region}, _same_region),
    ({Matrix}, _same_matrix),
    ({Group}, _same_group),
    ({Scalar}, _same_scalar),
)
"""The first rule that fits the shape of either answer decides."""
