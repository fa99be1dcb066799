"""verify() on right, wrong and hostile answers, and on any text."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.math_answer import MathAnswer, extract, verify
from rewards.mathematics import symbolic
from rlreason.errors import DataError
from rlreason.types import Outcome, Problem


def boxed(answer: str) -> str:
    return f"<think>some \\boxed{{0}} steps</think>So it is \\boxed{{{answer}}}."


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("42", "42"),
        ("42", "42.0"),
        ("42", "+42"),
        ("1,024", "1024"),
        ("1024", "1{,}024"),
        ("-3", "\N{MINUS SIGN}3"),
        ("0.5", ".5"),
        ("1/2", "\\dfrac12"),
        ("\\frac{1}{2}", "0.5"),
        ("$\\frac{3}{4}$", "\\frac{-3}{-4}"),
        ("\\boxed{7}", "$7$"),
        ("Tuesday", "\\text{tuesday}"),
        ("\\left(1, 2\\right)", "(1,2)"),
        ("x^2+1", "1+x^2"),
        ("\\sqrt{8}", "2\\sqrt{2}"),
        ("\\{1,2\\}", "\\{2,1\\}"),
        ("5", "5\\text{ cm}"),
        ("9^{9^{9}}", "9^{9^{9}}"),
    ],
)
def test_equal_answers_are_right(gold: str, answer: str) -> None:
    verdict = verify(gold, boxed(answer))
    assert (verdict.correct, verdict.outcome, verdict.extracted) == (True, "ok", answer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("42", "43"),
        ("1/3", "0.333333"),
        ("\\sqrt{2}", "1.41421356"),
        ("11/2", "1 1/2 "),
        ("knight", "thgink"),
        ("knight", "knave"),
        ("(1,2)", "(2,1)"),
        ("x^2+1", "x^2-1"),
        ("100000000000000000001", "100000000000000000000"),
    ],
)
def test_unequal_answers_are_wrong(gold: str, answer: str) -> None:
    verdict = verify(gold, boxed(answer))
    assert (verdict.correct, verdict.outcome) == (False, "ok")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("", "unparseable"),
        ("1 2", "unparseable"),
        ("???", "unparseable"),
        ("9" * 1001, "over_limit"),
        ("9^{9^{9}}", "over_limit"),
        ("9^9^9", "over_limit"),
        ("9**(9**9)", "over_limit"),
        ("3^{1000000000}", "over_limit"),
        ("3^{1{,}000{,}000}", "over_limit"),
        ("10000000!!", "over_limit"),
        ("(9!)!", "over_limit"),
        ("(" * 65 + "1" + ")" * 65, "over_limit"),
    ],
)
def test_what_cannot_or_must_not_be_read_never_reaches_math_verify(
    answer: str, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symbolic, "equal", lambda *_: pytest.fail("asked about a bomb"))
    verdict = verify("5", boxed(answer))
    assert (verdict.correct, verdict.outcome) == (False, outcome)


@pytest.mark.parametrize(
    "answer", ["64-2", "\\sqrt{x}+5!", "10^{-5}", "e^{x^2}", "((x))", "2^{10}"]
)
def test_ordinary_answers_are_within_the_limits(answer: str) -> None:
    assert verify("5", boxed(answer)).outcome == "ok"


@pytest.mark.parametrize(
    ("completion", "extracted"),
    [
        ("\\boxed{1} and \\boxed{2}", "2"),
        ("<think>\\boxed{1}</think>\\boxed{2}", "2"),
        ("<think>\\boxed{1}</think>2", None),
        ("<think>still \\boxed{1}", None),
        ("steps</think>\\boxed{1}", "1"),
        ("\\boxed{1}" + " " * 20_000, None),
        ("<think>" + "a" * 20_000 + "\\boxed{1}", None),
    ],
)
def test_the_last_box_after_the_reasoning_counts(completion: str, extracted: str | None) -> None:
    assert extract(completion) == extracted


CANARIES = [
    "__import__('os').system('touch {canary}')",
    "__import__('pathlib').Path('{canary}').touch()",
    "open('{canary}', 'w').write('x')",
    "exec('open(\\'{canary}\\', \\'w\\')')",
    "import os; os.system('touch {canary}')",
    "().__class__.__bases__[0].__subclasses__()",
    "\\sum_{n=1}^{3} __import__('os').system('touch {canary}')",
    "\\int \\text{open('{canary}','w')} dx",
    "\\lim_{x \\to 0} eval(open('{canary}', 'w'))",
]


@pytest.mark.parametrize("attack", CANARIES)
def test_text_of_the_model_is_never_executed(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = attack.replace("{canary}", str(tmp_path / "canary"))
    for gold in ("5", "\\sum_{n=1}^{3} n"):
        assert not verify(gold, boxed(text)).correct
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gold", ["", "   ", "$$", "???", "}{", "\\frac{"])
def test_an_answer_of_ours_that_cannot_be_read_is_our_mistake(gold: str) -> None:
    with pytest.raises(DataError, match="its answer"):
        verify(gold, boxed("5"))


def test_the_reward_scores_the_verdict() -> None:
    reward = MathAnswer()
    problem = Problem(id="1", pool="gsm8k", prompt="?", answer="18")
    right, wrong, none = (reward(problem, text) for text in (boxed("18.0"), boxed("17"), "18"))
    assert [score.value for score in (right, wrong, none)] == [1.0, 0.0, 0.0]
    assert [score.outcome for score in (right, wrong, none)] == ["ok", "ok", "unparseable"]
    with pytest.raises(DataError, match="no answer"):
        reward(Problem(id="2", pool="gsm8k", prompt="?"), boxed("18"))


SYMBOLS = ["{", "}", "^", "_", "1", "2", ".", ",", "/", "x", "+", "=", "(", "]", "<", "!", "\\"]
COMMANDS = ["\\frac", "\\sqrt", "\\text{a}", "\\%", "\\pi", "\\cup", "\\boxed{", "</think>"]
PIECES = SYMBOLS + COMMANDS


@settings(max_examples=60, deadline=None)
@given(answer=st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_any_text_stays_in_bounds(answer: str) -> None:
    for completion in (answer, boxed(answer)):
        score = MathAnswer()(Problem(id="1", pool="p", prompt="?", answer="1/2"), completion)
        assert score.value in (0.0, 1.0)
        assert score.value == 0.0 or score.outcome == "ok"


@settings(deadline=None)
@given(above=st.integers(-999, 999), below=st.integers(1, 99), scale=st.integers(1, 9))
def test_fractions_equal_their_multiples_and_nothing_else(
    above: int, below: int, scale: int
) -> None:
    gold, same = f"{above}/{below}", f"\\frac{{{above * scale}}}{{{below * scale}}}"
    assert verify(gold, boxed(same)).correct
    assert not verify(gold, boxed(f"{above * scale + 1}/{below * scale}")).correct
