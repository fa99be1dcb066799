"""Candidates and critiques from endpoints, as a program that a test can kill.

    python critique_program.py URL FOLDER

Two generators, two teachers, two problems; artifacts and reply stores go to FOLDER.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chat_server import VARIABLE
from critique_parts import BOUNDS, JUDGE, SOLVE, grader, judge, problem, writing

from rlreason.build_writers import named_writer
from rlreason.config import TeacherSection, WriterSection
from rlreason.critique.artifacts import Provenance, write_rows
from rlreason.critique.candidates import make_candidates
from rlreason.critique.critiques import collect_responses
from rlreason.critique.filter import filter_critiques, funnel
from rlreason.critique.records import Candidate, CritiqueExample, TeacherResponse
from rlreason.critique.replies import NamedWriter


def run(url: str, folder: Path) -> None:
    """All stages, each leaving its artifact."""
    made = make_candidates(
        [problem(), problem("1+1", "2")],
        [_writer(WriterSection, url, name) for name in ("g1", "g2")],
        samples=3,
        template=SOLVE,
        writing=writing(folder / "candidates"),
        scorer=grader(),
        bounds=BOUNDS,
    )
    counts: dict[str, Any] = {"generators": [asdict(count) for count in made.counts]}
    _keep(folder, "candidates", made.candidates, Candidate, counts)
    responses = collect_responses(
        made.candidates,
        [_writer(TeacherSection, url, name) for name in ("t1", "t2")],
        template=JUDGE,
        writing=writing(folder / "critiques"),
    )
    _keep(folder, "critiques", responses, TeacherResponse, {})
    examples = filter_critiques(made.candidates, responses, judge=judge())
    rows = [asdict(row) for row in funnel(examples)]
    _keep(folder, "examples", examples, CritiqueExample, {"funnel": rows})


def _writer(kind: type[WriterSection], url: str, name: str) -> NamedWriter:
    section = kind(name=name, endpoint=url, model=name, key_from=VARIABLE, concurrency=1)
    return named_writer(section, threads=1, where=f"writers.{name}")


def _keep(folder: Path, stage: str, rows: Any, kind: Any, counts: dict[str, Any]) -> None:
    origin = Provenance(stage=stage, input_hash="fixed", counts=counts)
    write_rows(folder / f"{stage}.parquet", rows, kind, origin)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
