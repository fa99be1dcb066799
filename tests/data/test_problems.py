"""Rows that are no problems: every kind is found, with its place, before anything starts."""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rlreason.data.jsonl import MAX_LINE_BYTES, JsonlSource
from rlreason.data.problems import MAX_PROMPT_CHARS, read_problems
from rlreason.data.rows import ColumnOptions
from rlreason.errors import DataError
from rlreason.types import Problem

NUM_GOOD = 200  # so that one bad row is half a percent: skipped, not fatal


class Rows:
    """A source that is a list."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self.rows = list(rows)

    def read(self) -> Iterable[Mapping[str, Any]]:
        return self.rows


def good_rows(count: int = NUM_GOOD) -> list[dict[str, Any]]:
    return [
        {"id": f"g{i}", "prompt": f"What is {i}+1?", "answer": str(i + 1)} for i in range(count)
    ]


def read(rows: Iterable[Any], *, needs_answer: bool = True) -> list[Problem]:
    return read_problems(Rows(rows), "words", needs_answer=needs_answer)


def write_lines(folder: Path, bad: bytes, line: int) -> Path:
    """A file of good rows with ``bad`` as its line number ``line``."""
    lines = [json.dumps(row).encode() for row in good_rows()]
    lines.insert(line - 1, bad)
    path = folder / "problems.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


ROW_FAULTS = {
    "missing key": b'{"answer": "4"}',
    "null": b'{"prompt": null, "answer": "4"}',
    "wrong type": b'{"prompt": 7, "answer": "4"}',
    "empty prompt": b'{"prompt": " \\n\\t", "answer": "4"}',
    "prompt too long": json.dumps({"prompt": "x" * 100_001, "answer": "4"}).encode(),
    "line too long": json.dumps({"prompt": "x" * 10_000_000, "answer": "4"}).encode(),
    "bad UTF-8": b'{"prompt": "caf\xe9", "answer": "4"}',
    "broken JSON": b'{"prompt": "2+2", "answer": ',
    "lone surrogate": b'{"prompt": "a \\ud800 b", "answer": "4"}',
    "NUL character": b'{"prompt": "a \\u0000 b", "answer": "4"}',
    "duplicate id": b'{"id": "g3", "prompt": "another", "answer": "4"}',
    "duplicate prompt": b'{"prompt": "same", "answer": "4"}\n{"prompt": "same", "answer": "4"}',
    "malformed messages": b'{"prompt": [{"role": "user"}], "answer": "4"}',
    "no answer": b'{"prompt": "2+2"}',
    "bad metadata": b'{"prompt": "2+2", "answer": "4", "metadata": "hard"}',
    "empty id": b'{"id": "", "prompt": "2+2", "answer": "4"}',
}


@pytest.mark.parametrize("kind", ROW_FAULTS)
def test_a_bad_row_is_skipped_with_a_warning_that_names_its_line(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_lines(tmp_path, ROW_FAULTS[kind], line=17)
    line = 18 if kind == "duplicate prompt" else 17
    with caplog.at_level(logging.WARNING):
        problems = read_problems(JsonlSource(path, ColumnOptions()), "words", needs_answer=True)
    expected = NUM_GOOD + (kind == "duplicate prompt")
    assert len(problems) == expected
    assert {f"g{i}" for i in range(NUM_GOOD)} <= {problem.id for problem in problems}
    assert f"pool 'words': 1 of {expected + 1} rows are bad" in caplog.text
    assert f"problems.jsonl line {line}: {kind}" in caplog.text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[1, 2]", "list, not an object"),
        (b'{"prompt": "2+2", "answer": NaN}', "NaN is not JSON"),
        (b"[" * 100_000, "broken JSON"),
        (b'{"prompt": "2+2", "answer": ' + b"9" * 5000 + b"}", "broken JSON"),
        (b'{"prompt": "2+2", "answer": 0.5}', "the answer is float"),
        (b'{"prompt": "2+2", "answer": true}', "the answer is bool"),
        (b'{"id": 1.5, "prompt": "2+2", "answer": "4"}', "the id is float"),
        (b'{"prompt": "2+2", "answer": "4", "metadata": {"split_key": 3}}', "split_key is 3"),
        (b'{"prompt": "2+2", "answer": "4", "metadata": {"a": "\\ud800"}}', "bad metadata"),
        (b'{"prompt": "2+2", "answer": " "}', "no answer: it is ' '"),
        (b'{"prompt": "2+2", "answer": "\\u00004"}', "in the answer, at position 1"),
        (b'{"prompt": [], "answer": "4"}', "the last message must be the user's"),
        (b'{"prompt": ["hi"], "answer": "4"}', "message 1 is str"),
        (b'{"prompt": [{"role": "usr", "content": "x"}], "answer": "4"}', "role 'usr'"),
        (b'{"prompt": [{"role": "user", "content": 5}], "answer": "4"}', "content is int"),
        (b'{"prompt": [{"role": "user", "content": " "}], "answer": "4"}', "empty message"),
        (
            b'{"prompt": [{"role": "user", "content": "x", "name": "y"}], "answer": "4"}',
            "content, name, role",
        ),
        (
            b'{"prompt": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],'
            b' "answer": "4"}',
            "the last message must be the user's",
        ),
    ],
)
def test_a_warning_says_what_is_wrong_with_the_row(
    line: bytes, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_lines(tmp_path, line, line=5)
    read_problems(JsonlSource(path, ColumnOptions()), "words", needs_answer=True)
    assert "line 5: " in caplog.text
    assert words in caplog.text


def test_more_than_one_percent_of_bad_rows_stops_with_counts_and_ten_examples() -> None:
    rows = [*good_rows(88), *[{"prompt": None}] * 7, *[{"prompt": "x"}] * 5]
    with pytest.raises(DataError) as caught:
        read(rows)
    message = str(caught.value)
    assert "12 of 100 rows are bad (12.00%" in message
    assert "7 x null, 5 x no answer" in message
    assert message.count("\n  row ") == 10
    assert "row 89: null" in message
    assert "and 2 more" in message


def test_exactly_one_percent_of_bad_rows_is_skipped_and_one_row_more_stops() -> None:
    assert len(read([*good_rows(99), {"prompt": None}])) == 99
    with pytest.raises(DataError, match=r"2 of 101 rows"):
        read([*good_rows(99), {"prompt": None}, {"prompt": None}])


def test_a_pool_without_rows_or_without_a_good_row_stops() -> None:
    with pytest.raises(DataError, match="pool 'words': the source holds no rows"):
        read([])
    with pytest.raises(DataError, match="1 of 1 rows are bad"):
        read([{"prompt": ""}])


def test_an_answer_is_only_missed_where_the_reward_needs_one() -> None:
    rows = [{"prompt": "Write a poem."}, {"prompt": "Another.", "answer": None}]
    assert [problem.answer for problem in read(rows, needs_answer=False)] == [None, None]
    with pytest.raises(DataError, match="2 x no answer"):
        read(rows)


def test_a_plugin_row_with_an_unknown_key_or_of_no_mapping_is_bad() -> None:
    with pytest.raises(DataError, match="row 1: unknown key: 'anwser'"):
        read([{"prompt": "2+2", "anwser": "4"}])
    with pytest.raises(DataError, match="row 1: wrong type: a row is a mapping, not str"):
        read(["2+2"])


def test_ids_are_given_or_depend_on_the_prompt_alone() -> None:
    rows = [{"prompt": "2+2", "answer": "4"}, {"prompt": "2+3", "answer": 5, "id": 12}]
    first, second = read(rows)
    # Written out so that a change of the hash, which would rename problems, is seen.
    assert first.id == "1acf86226c68c148"
    assert read(reversed(rows))[1].id == first.id
    assert (second.id, second.answer) == ("12", "5")


def test_messages_become_a_tuple_and_nulls_that_arrow_fills_in_are_dropped() -> None:
    turns = [
        {"role": "system", "content": "Be brief.", "name": None},
        {"role": "user", "content": "2+2"},
    ]
    (problem,) = read([{"prompt": turns, "answer": "4"}])
    assert problem.prompt == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2"},
    )


def test_metadata_is_kept_in_the_form_that_json_gives_back() -> None:
    row = {"prompt": "2+2", "answer": "4", "metadata": {"range": (1, 2), 3: "x"}}
    (problem,) = read([row])
    assert problem.metadata == {"range": [1, 2], "3": "x"}
    assert json.loads(json.dumps(problem.metadata)) == problem.metadata


def test_a_prompt_is_too_long_by_the_characters_of_all_its_messages() -> None:
    half = "x" * (MAX_PROMPT_CHARS // 2)
    turns = [{"role": "system", "content": half}, {"role": "user", "content": half}]
    assert len(read([{"prompt": turns, "answer": "4"}])) == 1
    turns[1]["content"] += "x"
    with pytest.raises(DataError, match="prompt too long: 100001 characters, at most 100000"):
        read([{"prompt": turns, "answer": "4"}])


def test_a_long_line_is_never_held_in_memory_and_costs_one_row(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    good = b'{"prompt": "a", "answer": "1"}\n'
    path.write_bytes(good + b"x" * (3 * MAX_LINE_BYTES + 5) + b"\n" + good)
    rows = list(JsonlSource(path, ColumnOptions()).read())
    assert [row["origin"] for row in rows] == [f"problems.jsonl line {n}" for n in (1, 2, 3)]
    assert [row.get("fault", ("ok",))[0] for row in rows] == ["ok", "line too long", "ok"]
