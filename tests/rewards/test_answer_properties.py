"""verify() on random expressions: rewritten ones are equal, changed ones are not."""

from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewards.math_answer import verify
from rewards.mathematics.syntax import Node

LETTERS = ("x", "y", "t")
SMALL = st.integers(-9, 9)
RATIONALS = st.fractions(-50, 50, max_denominator=40)
FULL_WIDTH = str.maketrans("0123456789-", "".join(map(chr, range(0xFF10, 0xFF1A))) + "\u2212")
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Formula = (
    tuple  # ("+", left, right), ("*", left, right), ("^", base, n), ("/", above, below) or text
)


def formulas(depth: int) -> st.SearchStrategy:
    leaf = st.sampled_from(LETTERS) | st.integers(1, 12).map(str)
    if depth == 0:
        return leaf
    inner = formulas(depth - 1)
    pair = st.tuples(st.sampled_from(["+", "*", "/"]), inner, inner)
    return leaf | pair | st.tuples(st.just("^"), inner, st.integers(2, 3))


def latex(formula: Formula | str) -> str:
    """One spelling: left to right, fractions stacked."""
    if isinstance(formula, str):
        return formula
    kind, left, right = formula
    if kind == "^":
        return f"\\left({latex(left)}\\right)^{{{right}}}"
    if kind == "/":
        return f"\\frac{{{latex(left)}}}{{{latex(right)}}}"
    return f"({latex(left)}){'+' if kind == '+' else ''}({latex(right)})"


def rewritten(formula: Formula | str) -> str:
    """Another spelling of the same: commuted, expanded, powers as products, plain slashes."""
    if isinstance(formula, str):
        return formula
    kind, left, right = formula
    if kind == "^":
        return " \\cdot ".join([f"({rewritten(left)})"] * right)
    if kind == "/":
        return f"({rewritten(left)})/({rewritten(right)})"
    if kind == "*" and isinstance(left, tuple) and left[0] == "+":
        factor = rewritten(right)
        return f"({rewritten(left[1])})*({factor}) + ({factor}) ({rewritten(left[2])})"
    sign = " + " if kind == "+" else " \\times "
    return f"({rewritten(right)}){sign}({rewritten(left)})"


def is_right(gold: str, answer: str) -> bool:
    return verify(gold, f"<think>...</think>\\boxed{{{answer}}}").correct


@given(formula=formulas(3))
def test_a_rewritten_formula_is_equal(formula: Formula | str) -> None:
    assert is_right(latex(formula), rewritten(formula))


@given(formula=formulas(3), change=st.sampled_from(["+1", "-\\frac{1}{1000}", "+t^2", "+10^{-30}"]))
def test_a_changed_formula_is_not(formula: Formula | str, change: str) -> None:
    assert not is_right(latex(formula), rewritten(formula) + change)


@given(value=RATIONALS, scale=st.integers(1, 9))
def test_spellings_of_a_rational_are_equal(value: Fraction, scale: int) -> None:
    above, below = value.numerator, value.denominator
    sign = "-" if above < 0 else ""
    spellings = [
        f"{above * scale}/{below * scale}",
        f"{sign}\\dfrac{{{abs(above)}}}{{{below}}}",
        f"\\frac{{{-above}}}{{{-below}}}",
        f"\\text{{{above}}}/{below}".translate(FULL_WIDTH),
        f"\\left( {above} \\cdot {below}^{{-1}} \\right)",
        f"{Fraction(above * 100, below)} \\%",
    ]
    whole, rest = divmod(abs(above), below)
    if whole and rest:
        spellings += [f"{sign}{whole}\\frac{{{rest}}}{{{below}}}", f"{sign}{whole} {rest}/{below}"]
    assert [text for text in spellings if not is_right(str(value), text)] == []


def long_division(value: Fraction) -> str:
    r"""``value`` in [0, 1) as a decimal with its period under a bar."""
    digits, seen, rest = "", {}, value.numerator
    while rest and rest not in seen:
        seen[rest] = len(digits)
        digits += str(rest * 10 // value.denominator)
        rest = rest * 10 % value.denominator
    if not rest:
        return f"0.{digits or '0'}"
    start = seen[rest]
    return f"0.{digits[:start]}\\overline{{{digits[start:]}}}"


@given(value=st.fractions(0, 1, max_denominator=60).filter(lambda value: value < 1))
def test_a_repeating_decimal_is_its_fraction_and_a_cut_one_is_not(value: Fraction) -> None:
    decimal = long_division(value)
    assert is_right(str(value), decimal)
    cut = decimal.replace("\\overline{", "").replace("}", "")
    assert is_right(str(value), cut) == ("overline" not in decimal)


@given(mantissa=st.integers(1, 9999), exponent=st.integers(-40, 40), off=st.sampled_from([-1, 1]))
def test_scientific_notation_is_exact(mantissa: int, exponent: int, off: int) -> None:
    gold = str(Fraction(mantissa) * Fraction(10) ** exponent)
    for pattern in ("{}e{}", "{} \\times 10^{{{}}}", "{}\\cdot 10^{{{}}}", "{}E{}", "{}*10**({})"):
        assert is_right(gold, pattern.format(mantissa, exponent))
        assert not is_right(gold, pattern.format(mantissa, exponent + off))
        assert not is_right(gold, pattern.format(mantissa + off, exponent))


@given(number=st.integers(1000, 10**12), off=st.integers(1, 999))
def test_thousands_separators_change_nothing(number: int, off: int) -> None:
    for separator in (",", "{,}", "\\,", "\\ ", "\\!,", " "):
        grouped = f"{number:,}".replace(",", separator)
        assert is_right(str(number), grouped)
        assert not is_right(str(number + off), grouped)


@given(items=st.lists(RATIONALS, min_size=2, max_size=5, unique=True), seed=st.randoms())
def test_sets_and_lists_have_no_order_and_tuples_have(items: list, seed: object) -> None:
    shuffled = list(items)
    seed.shuffle(shuffled)
    first, second = (", ".join(map(str, some)) for some in (items, shuffled))
    assert is_right(f"\\{{{first}\\}}", f"\\left\\{{{second}\\right\\}}")
    assert is_right(first, second)
    assert is_right(f"({first})", f"({second})") == (items == shuffled)
    more = f"{second}, {max(items) + 1}"
    assert not is_right(first, more)
    assert not is_right(f"\\{{{more}\\}}", f"\\{{{first}\\}}")


@given(
    low=RATIONALS,
    width=st.fractions("1/40", 9, max_denominator=40),
    ends=st.tuples(*[st.booleans()] * 2),
)
def test_an_interval_is_its_inequality(low: Fraction, width: Fraction, ends: tuple) -> None:
    high = low + width
    interval = f"{'[' if ends[0] else '('}{low}, {high}{']' if ends[1] else ')'}"
    signs = ["\\le" if closed else "<" for closed in ends]
    assert is_right(interval, f"{low} {signs[0]} x {signs[1]} {high}")
    assert is_right(f"{low} {signs[0]} x {signs[1]} {high}", f"x \\in {interval}")
    for changed in ((not ends[0], ends[1]), (ends[0], not ends[1])):
        signs = ["\\le" if closed else "<" for closed in changed]
        assert not is_right(interval, f"{low} {signs[0]} x {signs[1]} {high}")
    assert not is_right(interval, f"{low} < x < {high + 1}")


@given(
    square=st.integers(2, 12),
    inner=st.sampled_from([2, 3, 5, 6, 7]),
    letter=st.sampled_from(LETTERS),
)
def test_equal_radicals_are_equal(square: int, inner: int, letter: str) -> None:
    gold = f"{square}\\sqrt{{{inner}}}"
    assert is_right(gold, f"\\sqrt{{{square * square * inner}}}")
    assert is_right(gold, f"{square}√{inner}")
    assert is_right(gold, f"\\frac{{{square * inner}}}{{\\sqrt{{{inner}}}}}")
    assert is_right(f"{gold}\\,{letter}", f"\\sqrt{{{inner}}} \\cdot {square}{letter}")
    assert not is_right(gold, f"\\sqrt{{{square * square * inner + 1}}}")
    assert not is_right(gold, f"{(square * square * inner) ** 0.5:.15f}")


@given(number=st.integers(0, 10**6), base=st.integers(2, 10), other=st.integers(2, 10))
def test_a_number_in_a_base_is_its_value(number: int, base: int, other: int) -> None:
    def digits(rest: int) -> str:
        return (digits(rest // base) if rest >= base else "") + str(rest % base)

    text = digits(number)
    assert is_right(str(number), f"{text}_{{{base}}}")
    assert is_right(f"{text}_{base}", f"({text})_{{{base}}}")
    same = base == other or number < min(base, other)
    assume(same or all(int(digit) < other for digit in text))
    assert is_right(f"{text}_{base}", f"{text}_{other}") == same


@given(exponent=st.integers(2, 99), letter=st.sampled_from(LETTERS))
def test_raised_digits_are_exponents(exponent: int, letter: str) -> None:
    assert is_right(f"{letter}^{{{exponent}}}", letter + str(exponent).translate(RAISED))
    assert not is_right(f"{letter}^{{{exponent}}}", f"{letter}{exponent}")


PIECES = ["{", "}", "^", "_", "1", "2", ".", ",", "/", "x", "=", "(", "]", "<", "!", "\\", "|", "&",
          "\\frac", "\\sqrt", "\\text{a b}", "\\%", "\\pi", "\\cup", "\\pm", "\\begin{pmatrix}",
          "\\end{pmatrix}", "\\\\", "\\overline{3}", "\\ldots", "\\sin", "\\log_", ":", "°",
          "½", "\u202e"]  # fmt: skip


@settings(max_examples=300)
@given(answer=st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=40))
def test_no_text_raises_or_equals_a_strange_number(answer: str) -> None:
    assert not is_right("918273645", answer)


def test_the_tree_is_plain_data() -> None:
    assert Node("symbol", "x") == Node("symbol", "x")
