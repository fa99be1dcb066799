"""YAML 1.2 without surprises: scalars, tags, duplicates, bombs, lines, round trips."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason import strict_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("no", "no"),
        ("1.10", 1.1),
        ('"1.10"', "1.10"),
        ("12:30", "12:30"),
        ("yes", "yes"),
        ("on", "on"),
        ("2026-01-02", "2026-01-02"),
        ("010", 10),
        ("true", True),
        ("~", None),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    read = strict_yaml.read(f"key: {text}").data["key"]
    assert read == value
    assert type(read) is type(value)


def test_every_key_and_item_has_its_line() -> None:
    lines = strict_yaml.read("a: 1\nb:\n  c: 2\n  d:\n  - 3\n  - {e: 4}\n").lines
    assert lines[("a",)] == 1
    assert lines[("b", "c")] == 3
    assert lines[("b", "d", 0)] == 5
    assert lines[("b", "d", 1, "e")] == 6


def test_a_duplicate_key_is_a_mistake_at_its_second_line() -> None:
    document = strict_yaml.read("a: 1\nb: {c: 1}\na: 2\n")
    assert document.mistakes == [(3, "a: written twice, first on line 1")]


def test_the_same_key_in_two_sections_is_fine() -> None:
    assert strict_yaml.read("a: {c: 1}\nb: {c: 1}\n").mistakes == []


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!mine", "!!int", "!!binary"])
def test_tags_are_mistakes(tag: str) -> None:
    [(line, reason)] = strict_yaml.read(f"a: 1\nb: {tag} [x]\n").mistakes
    assert line == 2
    assert "remove it" in reason


def test_keys_that_are_not_text_are_mistakes() -> None:
    lines = [line for line, _ in strict_yaml.read("1: a\ntrue: b\n[x]: c\nok: d\n").mistakes]
    assert lines == [1, 2, 3]


def test_an_alias_is_followed() -> None:
    assert strict_yaml.read("a: &x {k: 1}\nb: *x\n").data["b"] == {"k": 1}


def test_a_merge_key_is_an_ordinary_key() -> None:
    assert strict_yaml.read("a: {<<: {k: 1}}").data == {"a": {"<<": {"k": 1}}}


def laughs(levels: int = 12, width: int = 9) -> str:
    rows = [f"a0: &a0 [{','.join('x' * width)}]"]
    rows += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(rows)


@pytest.mark.parametrize(
    "text", [laughs(), "a: &a [*a]", "a: &a {b: *a}", "[" * 50_000, "x" * 300_000]
)
def test_bombs_are_refused(text: str) -> None:
    with pytest.raises(strict_yaml.StrictYamlError, match=r"more than|nested deeper|longer than"):
        strict_yaml.read(text)


@pytest.mark.parametrize("text", ["a: b: c", "a: [1", "a: 1\n---\nb: 2", "a: \x00", "\ta: 1", "@x"])
def test_what_is_no_single_yaml_document_is_refused(text: str) -> None:
    with pytest.raises(strict_yaml.StrictYamlError):
        strict_yaml.read(text)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["no", "1e-6", "12:30", "1.10", "~", "<<", "=", "0x1F", "2026-01-02", "\x85"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc_", min_size=1), inner),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_written_reads_back_equal(value: object) -> None:
    document = strict_yaml.read(strict_yaml.write({"key": value}))
    assert document.data == {"key": value}
    assert document.mistakes == []


def test_tuples_are_written_as_lists_and_the_order_is_kept() -> None:
    assert strict_yaml.write({"z": (1, 2), "a": "é"}) == "z:\n- 1\n- 2\na: é\n"
