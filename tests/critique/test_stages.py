"""A stage runs when something that it depends on changed, and only then."""

import io
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from rlreason.critique.artifacts import Provenance
from rlreason.critique.stage_display import PlainStages
from rlreason.critique.stages import (
    Stage,
    StageName,
    pending,
    run_stages,
    stage_file,
    weights_digest,
)
from rlreason.critique.tables import read_table, write_table

SCHEMA = pa.schema([("value", pa.int64())])


class Recorder:
    """Stages that write a number, and a list of those that ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values: dict[StageName, int] = {"seeds": 1, "candidates": 10, "critiques": 100}

    def stage(self, name: StageName, reads: tuple[StageName, ...]) -> Stage:
        def make(path: Path, provenance: Provenance) -> None:
            below = [read_table(stage_file(self.folder, read))[0]["value"] for read in reads]
            rows = [{"value": self.values[name] + sum(below)}]
            write_table(path, rows, SCHEMA, provenance)

        return Stage(name=name, reads=reads, inputs={"value": self.values[name]}, make=make)

    def stages(self) -> list[Stage]:
        return [
            self.stage("seeds", ()),
            self.stage("candidates", ("seeds",)),
            self.stage("critiques", ("candidates",)),
        ]

    def run(self, until: StageName = "report") -> list[StageName]:
        display = PlainStages(io.StringIO())
        return run_stages(self.stages(), self.folder, until=until, display=display)

    def pending(self, until: StageName = "report") -> list[StageName]:
        return pending(self.stages(), self.folder, until=until)

    def value(self, name: StageName) -> int:
        return read_table(stage_file(self.folder, name))[0]["value"]


def test_unchanged_stages_are_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    assert recorder.run() == ["seeds", "candidates", "critiques"]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert recorder.run() == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_change_runs_its_stage_and_those_that_read_from_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.run()
    recorder.values["candidates"] = 20
    assert recorder.run() == ["candidates", "critiques"]
    assert recorder.value("critiques") == 121


def test_what_may_have_to_be_done_is_known_before_anything_is(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    assert recorder.pending() == ["seeds", "candidates", "critiques"]
    assert recorder.pending(until="candidates") == ["seeds", "candidates"]
    recorder.run()
    assert recorder.pending() == []
    recorder.values["candidates"] = 20
    assert recorder.pending() == ["candidates", "critiques"]
    assert recorder.pending(until="seeds") == []


def test_a_stage_that_comes_out_the_same_runs_nothing_behind_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.run()
    # Taken away and made again with the same bytes: what reads it sees no change.
    stage_file(tmp_path, "seeds").unlink()
    assert recorder.run() == ["seeds"]


def test_until_stops_behind_the_stage(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    assert recorder.run(until="candidates") == ["seeds", "candidates"]
    assert not stage_file(tmp_path, "critiques").exists()
    assert recorder.run() == ["critiques"]


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.run()
    path = stage_file(tmp_path, "candidates")
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + bytes(20) + whole[60:])
    assert recorder.run()[0] == "candidates"
    assert recorder.value("candidates") == 11


def test_other_weights_are_another_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = weights_digest(tmp_path)
    assert weights_digest(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(b"weightz")
    assert weights_digest(tmp_path) != before
    assert weights_digest("some/hub-name") == "some/hub-name"


def test_provenance_says_what_a_stage_read(tmp_path: Path) -> None:
    provenance = Provenance(stage="seeds", input_hash="x")
    path = tmp_path / "one.parquet"
    write_table(path, [{"value": 1}], SCHEMA, replace(provenance, counts={"kept": 1}))
    assert read_table(path) == [{"value": 1}]


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_eta_leaves_out_what_an_earlier_attempt_did_and_what_a_start_took() -> None:
    stream, clock = io.StringIO(), Clock()
    display = PlainStages(stream, now=clock)
    display.begin("critiques", 3, 7)
    display.progress(80, 100, "teacher")
    clock.now = 60.0
    display.progress(82, 100, "teacher")  # a minute in which the teacher was started
    assert stream.getvalue().splitlines()[-1] == "stage 3/7 critiques: teacher 82/100"
    clock.now = 66.0
    display.progress(85, 100, "teacher")  # 3 in 6 s: 15 more take 30 s
    assert stream.getvalue().splitlines()[-1] == "stage 3/7 critiques: teacher 85/100  eta 30 s"


def test_a_log_gets_a_line_now_and_then_only() -> None:
    stream, clock = io.StringIO(), Clock()
    display = PlainStages(stream, now=clock)
    display.begin("critiques", 3, 7)
    for done in range(1000):
        clock.now += 0.01
        display.progress(done, 1000, "teacher")
    assert len(stream.getvalue().splitlines()) < 5
