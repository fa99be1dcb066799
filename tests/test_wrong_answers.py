"""Wrong answers are wrong, whatever the right one is."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.reward_check.wrong_answers import as_number, wrong_answers


@given(st.integers(-(10**9), 10**9), st.integers(1, 99), st.sampled_from(["int", "slash", "frac"]))
def test_no_wrong_number_equals_the_right_one(above: int, below: int, style: str) -> None:
    sign = "-" if above < 0 else ""
    answer = {
        "int": str(above),
        "slash": f"{above}/{below}",
        "frac": rf"{sign}\frac{{{abs(above)}}}{{{below}}}",
    }[style]
    right = Fraction(above) if style == "int" else Fraction(above, below)
    assert as_number(answer) == right
    wrong = wrong_answers(answer)
    assert wrong
    assert right not in {as_number(text) for text in wrong}
    assert None not in {as_number(text) for text in wrong}


def test_a_wrong_integer_that_holds_the_right_one_is_among_them() -> None:
    assert wrong_answers("12") == ["13", "121", "21", "-12"]


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("0", ["1"]),  # 01, 0 and -0 are left out or wrong
        ("B", ["C"]),
        ("(J)", ["(A)"]),
        ("x^2", ["x^2+1", "x^2-1"]),
        ("yes", ["no", "sey", "not yes"]),
        (r"(0, \infty)", []),
        ("", []),
        ("1/0", ["1/0+1", "1/0-1"]),
    ],
)
def test_wrong_answers_by_shape(answer: str, wrong: list[str]) -> None:
    assert [text for text in wrong_answers(answer) if text != "01"] == wrong


def test_other_words_of_the_data_are_wrong_but_other_numbers_might_be_equal() -> None:
    assert "south" in wrong_answers("Paris", ["south", "paris", "7"])
    assert not {"paris", "7"} & set(wrong_answers("Paris", ["south", "paris", "7"]))
    assert "0.5" not in wrong_answers("1/2", ["0.5"])


def test_roles_are_swapped_for_one_person_and_for_all() -> None:
    answer = "Zoe is a sage, and Bo is a fool."
    assert wrong_answers(answer) == [
        "Zoe is a fool, and Bo is a fool.",
        "Zoe is a fool, and Bo is a sage.",
    ]
    alone = wrong_answers("Zoe is a knave.")
    assert alone == ["Zoe is a knight."]
