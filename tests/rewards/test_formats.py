"""What counts as a right format: the released code's table, the real grammar, and bounded time."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.formats import check_format, is_strict_think
from rewards.math_grammar import is_answer


def box(content: str) -> str:
    return rf"so \boxed{{{content}}}"


RELEASED_PASS = [
    "1", "3/2", "x^2+12y=1", r"(0,\infty)", "1,2,3", r"\{1,2\}", "yes", "(A)", "hello world",
    "I do not know", "idonotknow", "answer", "1=1=2", r"\frac{1}{2}", r"\frac{\frac{1}{2}}{3}",
    r"\sqrt{2}", r"2^{10}", "5!", r"50\%", r"90^\circ", "1,024", "10 cm", r"1 \text{ or } 2",
    "9.5", "-3", "2(x+1)", "x<3",
]  # fmt: skip
RELEASED_FAIL = [
    "", " ", "x+*2", "(0,1", "(0,1]", "[0,1)", r"\pm 3", r"x \le 3",
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"x \in \mathbb{R}", "12:30", "?", "lambda", "for",
    "x=", "007",
]  # fmt: skip


@pytest.mark.parametrize("content", RELEASED_PASS)
def test_released_accepts_what_the_released_code_accepts(content: str) -> None:
    assert check_format("released", box(content)) == "right"


@pytest.mark.parametrize("content", RELEASED_FAIL)
def test_released_refuses_what_the_released_code_refuses(content: str) -> None:
    assert check_format("released", box(content)) == "wrong"


@pytest.mark.parametrize(
    "completion",
    [
        r"\fbox{5}",
        r"\boxed 5",
        r"\boxed{5} and then \boxed{}",
        r"\boxed{5} and then \boxed",
        r"\boxed{5",
        r"<think>\boxed{5}</think> done",
        "5",
    ],
)
def test_released_takes_the_last_box_or_nothing(completion: str) -> None:
    assert check_format("released", completion) == "wrong"


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        (r"<answer>\boxed{?} \boxed{3}</answer>", "right"),
        (r"<answer>so \( x+1 \)</answer>", "right"),
        ("<answer>3</answer>", "right"),
        (r"\boxed{3} <answer>?</answer>", "wrong"),
    ],
)
def test_released_looks_into_an_answer_block_first(completion: str, verdict: str) -> None:
    assert check_format("released", completion) == verdict


@pytest.mark.parametrize(
    "content",
    [
        "9**9**9**9",
        "10^{10^{10}}",
        "9^{9^9}!",
        "(10^9)!",
        "9!!!!",
        "2*10^(3*10^9)",
        "9^" * 99 + "9",
    ],
)
def test_released_does_not_hang_where_the_released_code_does(content: str) -> None:
    assert check_format("released", box(content)) == "over_limit"


@pytest.mark.parametrize("mode", ["strict_think", "boxed_math", "released"])
@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').getpid()",
        "open('{}','w').write('x')",
        "[c for c in ().__class__.__bases__]",
        "exec('x=1')",
    ],
)
def test_code_in_a_box_is_never_run(mode: str, code: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    completion = box(code.replace("{}", str(marker)))
    assert check_format(mode, completion) == "wrong"  # type: ignore[arg-type]
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        "1", "-3.5", "3/2", r"\dfrac12", r"\frac{1}{2}", "1,2,3", "x^2+12y=1", r"(0,\infty)",
        "(0,1]", "[0,1)", r"\left(\frac{1}{2}, 3\right]", r"(1,2)\cup(3,4)", r"\pm 3", r"x \le 3",
        "x ≤ 3", "\N{MINUS SIGN}3", r"x \in \mathbb{R}", r"\{1,2\}", r"\{\}", r"\{x \mid x > 0\}",
        r"\{x | x>0\}", "|x-3|", "2|x|", "||x|-1|", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
        r"2\sqrt[3]{5}", r"\sin^2 x", r"\log_2 8", r"x_1 = 2, x_2 = 3", "5!", r"50\%", r"90^\circ",
        "12:30", "yes", "(A)", r"\text{Monday}", r"10 \text{ cm}", r"1 \text{ and } 2", r"x^{-1}",
        r"a \equiv 3 \pmod{7}", "1 000", r"$\pi r^2$", r"A_{n-1}", "9**9**9**9", "10^{10^{10}}",
    ],
)  # fmt: skip
def test_the_grammar_knows_the_answers_of_mathematics(content: str) -> None:
    assert check_format("boxed_math", box(content)) == "right"


@pytest.mark.parametrize(
    "content",
    [
        "", " ", "x+*2", "(0,1", "0,1)", "x=", "=3", "?", "hello world", "I do not know", "3 4 5",
        r"\frac{1}", r"\begin{pmatrix}1&2", r"\begin{pmatrix}1\end{bmatrix}", r"\sqrt", r"\sin",
        "1,,2", "2(3", "(1|", r"\lfloor 1)", r"\{1)", r"\unknown{3}",
        r"\input{file}", "{}", "|x", "^2", "()",
    ],
)  # fmt: skip
def test_the_grammar_refuses_what_is_no_answer(content: str) -> None:
    assert check_format("boxed_math", box(content)) == "wrong"


def test_boxed_math_reads_the_last_box_after_the_reasoning() -> None:
    assert check_format("boxed_math", r"<think>\boxed{1}</think> \boxed{x+*2}") == "wrong"
    assert check_format("boxed_math", r"<think>\boxed{?}</think> \boxed{2}") == "right"
    assert check_format("boxed_math", r"<think>\boxed{1}</think> so it is") == "wrong"


@pytest.mark.parametrize(
    ("completion", "strict"),
    [
        (r"<think>1+1=2</think>\boxed{2}", True),
        (r"<think></think>\boxed{2} ", True),
        (r"<think>1</think> \boxed{2}", False),
        (r"<think>1</think>\boxed{2}.", False),
        (r"<think>1<think>2</think>\boxed{2}", False),
        (r"1</think>\boxed{2}", False),
        (r"<think>1</think>\boxed{2", False),
        ("<think>1</think>2", False),
    ],
)
def test_strict_think_is_one_thought_and_one_box(completion: str, strict: bool) -> None:
    assert is_strict_think(completion) == strict
    assert check_format("strict_think", completion) == ("right" if strict else "wrong")


@pytest.mark.parametrize(
    "unit",
    ["(", "{", "[", "|", "^", "x^", r"\frac", r"\sqrt", r"\sin ", "9!", "x|", "-", r"\text{"],
)
def test_deep_and_long_boxes_neither_raise_nor_blow_the_stack(unit: str) -> None:
    for repeats in (45, 900, 100_000):
        for mode in ("boxed_math", "released"):
            check_format(mode, rf"\boxed{{{unit * repeats}}}")  # type: ignore[arg-type]
    assert not is_answer("(" * 60 + "1" + ")" * 60)


@given(st.text(st.sampled_from(list("()[]{}|^_!+-=*/,.: 19xab\\$&")), max_size=60) | st.text())
def test_no_text_raises(text: str) -> None:
    for mode in ("strict_think", "boxed_math", "released"):
        for completion in (text, rf"\boxed{{{text}}}", rf"<think></think>\boxed{{{text}}}"):
            assert check_format(mode, completion) in ("right", "wrong", "over_limit")  # type: ignore[arg-type]
