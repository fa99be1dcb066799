"""A stage that is killed goes on where it was: no call twice, and the same artifacts."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import chat_server
import critique_program
import pytest
from chat_server import KEY, VARIABLE, ChatServer, Response, chat, serving

from rlreason.critique.artifacts import read_rows
from rlreason.critique.records import Candidate, CritiqueExample, TeacherResponse

PROGRAM = Path(critique_program.__file__)
ROOT = PROGRAM.parent.parent
STAGES = ("candidates", "critiques", "examples")


def script(prompt: str, before: int) -> Response:
    """Solutions and critiques, some right and some wrong, by what is asked."""
    answer = "632" if "347" in prompt else "2"
    if not prompt.startswith("Q: "):
        return chat(f"\\boxed{{{answer if before % 2 else 7}}}")
    verdict = "wrong" if "\\boxed{7}" in prompt else "right"
    said = verdict if before % 3 else "right"
    return chat(f"{before}: \\boxed{{{answer}}}\nConclusion: {said} [END]")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving(script) as server:
        yield server


def run_killed(server: ChatServer, folder: Path, fault: str) -> None:
    paths = os.pathsep.join([str(ROOT), str(PROGRAM.parent)])
    done = subprocess.run(
        [sys.executable, str(PROGRAM), server.url, str(folder)],
        env={**os.environ, "PYTHONPATH": paths, "RLREASON_FAULT": fault},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def calls(server: ChatServer) -> Counter[tuple[str, str, int]]:
    return Counter(
        (call["model"], call["messages"][-1]["content"], call["seed"]) for call in server.calls
    )


def test_killed_in_each_stage_no_call_is_made_twice_and_artifacts_are_equal(
    server: ChatServer, tmp_path: Path
) -> None:
    critique_program.run(server.url, tmp_path / "whole")
    asked = calls(server)
    assert set(asked.values()) == {1}
    assert asked.total() == 2 * 2 * 3 + 2 * 12  # candidates, critiques
    server.calls.clear()
    for fault in ("candidates:5:kill9", "critiques:7:kill9"):
        run_killed(server, tmp_path / "killed", fault)
    assert calls(server).total() == 12 + 7
    critique_program.run(server.url, tmp_path / "killed")
    assert calls(server) == asked
    for stage in STAGES:
        whole, killed = (
            (tmp_path / run / f"{stage}.parquet").read_bytes() for run in ("whole", "killed")
        )
        assert whole == killed
    server.calls.clear()
    critique_program.run(server.url, tmp_path / "killed")
    assert server.calls == []


def test_two_generators_and_two_teachers_leave_provenance_and_no_key(
    server: ChatServer, tmp_path: Path
) -> None:
    critique_program.run(server.url, tmp_path)
    candidates, origin = read_rows(tmp_path / "candidates.parquet", Candidate)
    assert Counter(c.generator for c in candidates) == {"g1": 6, "g2": 6}
    assert [count["generator"] for count in origin.counts["generators"]] == ["g1", "g2"]
    responses, _ = read_rows(tmp_path / "critiques.parquet", TeacherResponse)
    assert Counter(r.teacher for r in responses) == {"t1": 12, "t2": 12}
    examples, origin = read_rows(tmp_path / "examples.parquet", CritiqueExample)
    assert {e.candidate_id for e in examples} == {c.id for c in candidates}
    assert {e.response_id for e in examples} == {r.id for r in responses}
    pairs = {(row["generator"], row["teacher"]): row for row in origin.counts["funnel"]}
    assert set(pairs) == {(g, t) for g in ("g1", "g2") for t in ("t1", "t2")}
    for row in pairs.values():
        assert row["responses"] == 6 == row["kept"] + sum(row["dropped"].values())
    assert 0 < sum(row["kept"] for row in pairs.values()) < 24
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(stored) == 3 + 4
    assert all(chat_server.KEY.encode() not in path.read_bytes() for path in stored)
