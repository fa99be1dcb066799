"""Templates are filled in literally, and a wrong one is refused before it is used."""

from pathlib import Path

import pytest
from critique_parts import problem
from hypothesis import given
from hypothesis import strategies as st

from rlreason.critique.prompts import SHIPPED, Template, load_template, render
from rlreason.errors import ConfigError
from rlreason.types import Message, Problem

BOTH = ("problem", "solution")


def load(value: str, needs: tuple[str, ...] = BOTH) -> Template:
    return load_template(value, needs=needs, where="critiques.template")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_templates_hold_the_problem_and_need_no_escapes(name: str) -> None:
    needs = ("problem",) if name == "solve" else BOTH
    text = render(load(name, needs), problem(), "SOL")
    assert "add 347+285" in text
    assert ("SOL" in text) == (name != "solve")
    assert "{problem}" not in text
    assert "{solution}" not in text
    assert not text.endswith("\n")


def test_teachers_are_asked_for_what_the_filter_reads() -> None:
    text = load("critique").text
    assert "Conclusion: right [END]\nConclusion: wrong [END]" in text
    assert r"\boxed{}" in text


def test_a_file_replaces_a_shipped_template(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("Judge {solution} of {problem}: \\boxed{x} \\frac{a}{b}\n", encoding="utf-8")
    template = load(str(path))
    assert render(template, problem(), "S") == "Judge S of add 347+285: \\boxed{x} \\frac{a}{b}"
    assert template.origin == str(path)


def test_text_in_the_recipe_is_a_template() -> None:
    assert render(load("{problem}|{solution}?"), problem(), "S") == "add 347+285|S?"


@given(st.text(), st.text())
def test_what_is_filled_in_is_never_filled_in_again(question: str, solution: str) -> None:
    asked = Problem(id="1", pool="p", prompt=f"{{solution}}{question}\\1")
    text = render(Template("[{problem}][{solution}]", "recipe"), asked, f"{{problem}}{solution}")
    assert text == f"[{{solution}}{question}\\1][{{problem}}{solution}]"


def test_messages_are_read_up_to_the_turn_of_the_model() -> None:
    turns = (
        Message(role="system", content="s"),
        Message(role="assistant", content="never"),
        Message(role="user", content="u"),
    )
    asked = Problem(id="1", pool="p", prompt=turns)
    assert render(Template("{problem}", "recipe"), asked) == "s\n\nu"


@pytest.mark.parametrize(
    ("value", "needs", "message"),
    [
        ("nowhere.txt", BOTH, "no such file, no shipped template"),
        ("", BOTH, "no such file"),
        ("only {problem}", BOTH, r"must contain \{solution\}"),
        ("{problem} {solution}", ("problem",), r"\{solution\} has no value here"),
        ("{problem} {solution} {solutoin}", BOTH, "no placeholder; did you mean 'solution'"),
        ("{problem} {question} {solution}", BOTH, "is no placeholder"),
    ],
)
def test_a_wrong_template_is_refused(value: str, needs: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(value, needs)
    assert str(caught.value).startswith("critiques.template")


def test_a_template_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"\xff{problem}{solution}")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(str(path))
