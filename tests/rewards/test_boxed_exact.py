"""BoxedExact and last_boxed against hand-made completions, and on any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.boxed_exact import BoxedExact, BoxedExactConfig
from rewards.boxes import last_boxed
from rlreason.errors import DataError
from rlreason.plugins import build_plugin
from rlreason.types import Problem, Score

PIECES = ["<think>", "</think>", "\\boxed{", "{", "}", "\\{", "632", " ", "\n", "\\", "x"]
any_text = st.text() | st.lists(st.sampled_from(PIECES)).map("".join)


def score(completion: str, *, strict: bool = True, answer: str | None = "632") -> Score:
    reward = BoxedExact(BoxedExactConfig(strict_format=strict))
    return reward(Problem(id="1", pool="add3", prompt="add 347+285", answer=answer), completion)


@pytest.mark.parametrize(
    ("completion", "strict_value", "lenient_value", "parts"),
    [
        ("<think>7+5+0=12</think>\\boxed{632}", 1.0, 1.0, (1.0, 1.0)),
        ("<think></think>\\boxed{ 632 }\n ", 1.0, 1.0, (1.0, 1.0)),
        ("<think>a</think>\\boxed{631}", 0.0, 0.0, (0.0, 1.0)),
        ("<think>a</think>\\boxed{0632}", 0.0, 0.0, (0.0, 1.0)),
        ("<think>a</think> \\boxed{632}", 0.0, 1.0, (1.0, 0.0)),
        ("<think>a</think>so \\boxed{632}", 0.0, 1.0, (1.0, 0.0)),
        ("<think>a</think>\\boxed{632}.", 0.0, 1.0, (1.0, 0.0)),
        ("<think>a</think>\\boxed{1}\\boxed{632}", 0.0, 1.0, (1.0, 0.0)),
        ("<think>a</think>\\boxed{632}\\boxed{1}", 0.0, 0.0, (0.0, 0.0)),
        ("<think>a<think>b</think>\\boxed{632}", 0.0, 1.0, (1.0, 0.0)),
        ("<think>a</think>b</think>\\boxed{632}", 0.0, 1.0, (1.0, 0.0)),
        (" <think>a</think>\\boxed{632}", 0.0, 1.0, (1.0, 0.0)),
        ("\\boxed{632}", 0.0, 1.0, (1.0, 0.0)),
    ],
)
def test_value_and_parts(
    completion: str, strict_value: float, lenient_value: float, parts: tuple[float, float]
) -> None:
    strict, lenient = score(completion), score(completion, strict=False)
    assert (strict.value, lenient.value) == (strict_value, lenient_value)
    assert (strict.parts["correct"], strict.parts["format"]) == parts
    assert strict.outcome == "ok"


@pytest.mark.parametrize("completion", ["", "632", "<think>a</think>632", "a \\boxed{632"])
def test_no_box_is_unparseable(completion: str) -> None:
    result = score(completion, strict=False)
    assert (result.value, result.outcome) == (0.0, "unparseable")


def test_a_problem_without_an_answer_is_our_mistake() -> None:
    with pytest.raises(DataError, match="no answer"):
        score("\\boxed{632}", answer=None)


def test_the_recipe_sets_strict_format_and_strict_is_the_default() -> None:
    path, completion = "rewards.boxed_exact:BoxedExact", "\\boxed{632}"
    problem = Problem(id="1", pool="add3", prompt="?", answer="632")
    lenient = build_plugin(path, {"strict_format": False}, where="reward")
    assert lenient(problem, completion).value == 1.0
    assert build_plugin(path, {}, where="reward")(problem, completion).value == 0.0


@given(completion=any_text, strict=st.booleans())
def test_any_text_stays_in_bounds(completion: str, strict: bool) -> None:
    result = score(completion, strict=strict)
    assert result.value in (0.0, 1.0)
    assert result.outcome == ("unparseable" if last_boxed(completion) is None else "ok")


@given(prefix=any_text, inner=st.text(alphabet="abc019+ ", max_size=9))
def test_a_closed_box_at_the_end_is_found_after_any_text(prefix: str, inner: str) -> None:
    if not prefix.endswith("\\"):
        # An opening left in the prefix cannot hide it: the box closes by itself.
        assert last_boxed(prefix + "\\boxed{" + inner + "}") == inner


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed {5}", "5"),
        ("\\boxed{a \\boxed{b} c}", "a \\boxed{b} c"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{1} then \\boxed{2", None),
        ("\\boxed{ \\boxed{5}", "5"),
        ("}} \\boxed{5}", "5"),
        ("\\\\boxed{5}", None),
        ("boxed{5}", None),
    ],
)
def test_last_boxed_matches_braces(text: str, content: str | None) -> None:
    assert last_boxed(text) == content
