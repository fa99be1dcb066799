"""Solutions from a file: the first ones of each problem, and a clear word about a bad file."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from critique_parts import problem

from rlreason.critique.solution_file import SolutionFile
from rlreason.errors import ConfigError, DataError
from rlreason.types import TextRequest

ROWS = [
    {"problem_id": "add3/347+285", "solution": "first", "model": "m"},
    {"problem_id": "other", "solution": "elsewhere", "model": "m"},
    {"problem_id": "add3/347+285", "solution": "second", "model": "m"},
]


def written(folder: Path, ending: str, rows: list[Any]) -> Path:
    path = folder / f"solutions{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("name", ["add3/347+285", "347+285"])
def test_solutions_come_in_the_order_of_the_file(ending: str, name: str, tmp_path: Path) -> None:
    rows = [{**row, "problem_id": row["problem_id"].replace("add3/347+285", name)} for row in ROWS]
    source = SolutionFile(written(tmp_path, ending, rows), where="generators.old.file")
    asked = [TextRequest(key=str(n), problem=problem(), prompt="?", sample=n) for n in (1, 0, 2)]
    replies = {reply.key: reply for reply in source.write(asked)}
    assert [replies[key].text for key in "01"] == ["first", "second"]
    assert replies["2"].error == "the file holds 2 solutions to add3/347+285"


def test_too_few_solutions_are_noticed_before_anything_starts(tmp_path: Path) -> None:
    source = SolutionFile(written(tmp_path, ".jsonl", ROWS), where="generators.old.file")
    source.check_problems([problem()], 2)
    with pytest.raises(ConfigError, match=r"generators.old.file.*2 solutions to problem"):
        source.check_problems([problem()], 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"problem_id": "1", "solution": "a"}\n{"problem_id": "1"}', "row 2: a row has"),
        ('{"problem_id": "1", "solution": " "}', "row 1"),
        ('{"problem_id": 1, "solution": "a"}', "row 1"),
        ("[1]", "row 1"),
        ("no JSON", "row 1"),
    ],
)
def test_a_bad_row_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=f"generators.old.file.*{message}"):
        SolutionFile(path, where="generators.old.file")


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("s.csv", b"", "must end in .jsonl or .parquet"),
        ("s.jsonl", None, "no file"),
        ("s.jsonl", b"\xff", "cannot be read"),
        ("s.parquet", b"no", "cannot be read"),
    ],
)
def test_a_bad_file_is_refused(name: str, data: bytes | None, error: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises((ConfigError, DataError), match=error):
        SolutionFile(path, where="generators.old.file")


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ".parquet", [{"problem_id": "1"}])
    with pytest.raises(DataError, match="cannot be read"):
        SolutionFile(path, where="generators.old.file")
