"""Rows come back as they were written, and say where they come from."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from critique_parts import candidate

from rlreason.critique.artifacts import Provenance, read_provenance, read_rows, write_rows
from rlreason.critique.records import Candidate, CritiqueExample, TeacherResponse
from rlreason.errors import CheckpointError
from rlreason.types import Message, Problem

ORIGIN = Provenance(
    stage="candidates", input_hash="abc", config={"samples": 2}, counts={"asked": 2}
)
MESSAGES = (Message(role="system", content="s"), Message(role="user", content="\u00e9\U0001f600"))
ONE = replace(
    candidate("a\nb", True),
    problem=Problem(id="1", pool="p", prompt=MESSAGES, answer=None, metadata={"k": [1, None]}),
)
TWO = candidate("", False, sample=1)
RESPONSE = TeacherResponse(
    candidate_id=ONE.id,
    teacher="t",
    prompt_hash="x",
    text="",
    finish_reason="error",
    cost=0.25,
    error="no",
)
EXAMPLE = CritiqueExample(
    problem=ONE.problem,
    solution=ONE.solution,
    critique="c",
    verdict=None,
    corrected=False,
    candidate_correct=True,
    generator="g",
    teacher="t",
    candidate_id=ONE.id,
    response_id=RESPONSE.id,
    dropped="no_verdict",
)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([ONE, TWO], Candidate),
        ([RESPONSE], TeacherResponse),
        ([EXAMPLE], CritiqueExample),
        ([], Candidate),
    ],
)
def test_rows_and_provenance_come_back(rows: list, kind: type, tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.parquet"
    write_rows(path, rows, kind, ORIGIN)
    assert read_rows(path, kind) == (rows, ORIGIN)
    assert read_provenance(path) == ORIGIN
    assert pq.read_table(path)["id"].to_pylist() == [row.id for row in rows]


def test_equal_rows_make_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_rows(tmp_path / name, [ONE, TWO], Candidate, ORIGIN)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_ids_are_the_same_in_every_process_and_change_with_the_content() -> None:
    assert candidate("x", True).id == "ec93d12f304e0602"
    changed = [
        replace(ONE, solution="z"),
        replace(ONE, generator="z"),
        replace(ONE, sample=9),
        replace(ONE, problem=replace(ONE.problem, prompt="other")),
    ]
    assert len({ONE.id, *(row.id for row in changed)}) == 5
    assert replace(ONE, score=0.5).id == ONE.id  # a new grade is no new solution
    assert replace(RESPONSE, text="z").id != RESPONSE.id != replace(RESPONSE, sample=1).id


@pytest.mark.parametrize("damage", ["garbage", "other kind", "foreign", "edited"])
def test_what_is_not_ours_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(path, [ONE], Candidate, ORIGIN)
    table = pq.read_table(path)
    if damage == "garbage":
        path.write_bytes(b"PAR1 no")
    elif damage == "other kind":
        write_rows(path, [RESPONSE], TeacherResponse, ORIGIN)
    elif damage == "foreign":
        pq.write_table(table.replace_schema_metadata(None), path)
    else:
        solutions = table["solution"].to_pylist()
        index = table.schema.get_field_index("solution")
        pq.write_table(table.set_column(index, "solution", [[s + "!" for s in solutions]]), path)
    with pytest.raises(CheckpointError, match="remove it, and its stage is run again"):
        read_rows(path, Candidate)
    if damage in ("garbage", "foreign"):
        assert read_provenance(path) is None


def test_there_is_no_provenance_without_a_file(tmp_path: Path) -> None:
    assert read_provenance(tmp_path / "none.parquet") is None
