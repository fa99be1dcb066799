"""A teacher on the worst of days: nothing is lost, everything is counted, no file holds the key."""

import json
import logging
from pathlib import Path

import pytest
from chat_server import KEY, VARIABLE, Response, chat, html, serving
from critique_parts import JUDGE, candidate, judge, named, writing

from rlreason.config import TeacherSection
from rlreason.critique.artifacts import Provenance, write_rows
from rlreason.critique.critiques import collect_responses
from rlreason.critique.endpoint import EndpointWriter
from rlreason.critique.filter import filter_critiques, funnel
from rlreason.critique.records import CritiqueExample, TeacherResponse

WRONG = r"\boxed{522}"
TRUE = r"It is \boxed{632}." "\nConclusion: wrong [END]"


def bad_day() -> list[list[Response]]:
    """For each request the answers to its attempts, in order."""
    echo = f"The header was {KEY}.\nConclusion: wrong [END]"
    return [
        [chat(TRUE)],
        [Response(429, "", {"Retry-After": "0"}), chat(TRUE)],
        [Response(500, KEY), Response(200, chat(TRUE).body[:30]), chat(TRUE)],
        [Response(silent=True), chat(TRUE)],
        [html(), html(), html()],
        [chat(r"\boxed{632}" "\nConclusion: right [END]")],
        [chat(r"\boxed{7}" "\nConclusion: wrong [END]")],
        [chat("Conclusion: right\nConclusion: wrong [END]")],
        [chat("It is wrong.")],
        [chat(TRUE, "length")],
        [chat(echo)],
        [Response(400, f"no {KEY}")],
    ]


def test_every_item_of_a_bad_day_is_accounted_for_and_no_file_holds_the_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    caplog.set_level(logging.DEBUG)
    days = bad_day()
    texts = [f"{number}: {WRONG}" for number in range(len(days))]
    candidates = [candidate(text, False, sample=n) for n, text in enumerate(texts)]

    def script(prompt: str, before: int) -> Response:
        number = int(prompt.rpartition("S: ")[2].partition(":")[0])
        return days[number][before]

    with serving(script) as server:
        section = TeacherSection(
            name="gpt",
            endpoint=server.url,
            model="big",
            key_from=VARIABLE,
            max_attempts=3,
            timeout_s=3.0,
        )
        writer = EndpointWriter(section, where="teachers.gpt", first_wait_s=0.001)
        responses = collect_responses(
            candidates, [named("gpt", writer)], template=JUDGE, writing=writing(tmp_path)
        )
        assert len(server.calls) == sum(map(len, days))
    examples = filter_critiques(candidates, responses, judge=judge())
    [row] = funnel(examples)
    assert row.responses == len(days) == row.kept + sum(row.dropped.values())
    assert row.kept == 4
    assert row.dropped == {
        "error": 2,
        "wrong_verdict": 1,
        "wrong_correction": 2,
        "no_verdict": 2,
        "truncated": 1,
    }
    origin = Provenance(stage="critiques", input_hash="x")
    write_rows(tmp_path / "responses.parquet", responses, TeacherResponse, origin)
    write_rows(tmp_path / "examples.parquet", examples, CritiqueExample, origin)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    for path in files:
        assert KEY.encode() not in path.read_bytes()
    assert KEY not in json.dumps([str(e) for e in examples])
    assert KEY not in caplog.text
