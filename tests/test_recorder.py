"""metrics.jsonl and evaluations.jsonl hold each step and version exactly once."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from step_records import step_metrics

from rlreason.alarms import Alarms
from rlreason.errors import CheckpointError
from rlreason.metrics import StepMetrics, to_json
from rlreason.recorder import Recorder


class ListedSink:
    def __init__(self) -> None:
        self.logged: list[tuple[int, Mapping[str, float]]] = []
        self.closed = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.logged.append((step, values))

    def close(self) -> None:
        self.closed = True


class ListedDisplay:
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.messages: list[str] = []
        self.closed = False

    def start(self, total: int, first: int) -> None: ...

    def step(self, metrics: StepMetrics) -> None:
        self.steps.append(metrics.step)

    def message(self, text: str) -> None:
        self.messages.append(text)

    def close(self) -> None:
        self.closed = True


def open_recorder(folder: Path, resume_step: int = 0) -> Recorder:
    recorder = Recorder(folder, sinks=[ListedSink()], display=ListedDisplay(), alarms=Alarms())
    recorder.start(resume_step)
    return recorder


def steps_in(folder: Path) -> list[int]:
    return [
        json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def evaluation(version: int) -> dict:
    interval = {"mean": 0.5, "low": 0.4, "high": 0.6}
    summary = {"num_problems": 4, "greedy": interval, "avg_at_k": None}
    return {"version": version, "pools": {"easy": summary}, "overall": summary, "macro_greedy": 0.5}


def record(folder: Path, first: int, last: int) -> None:
    recorder = open_recorder(folder, first)
    for step in range(first, last):
        recorder.step(step_metrics(step))
    recorder.close()


def test_a_step_reaches_the_file_the_display_and_the_sinks(tmp_path: Path) -> None:
    sink, display = ListedSink(), ListedDisplay()
    recorder = Recorder(tmp_path / "run", sinks=[sink], display=display, alarms=Alarms())
    recorder.start(0)
    metrics = step_metrics(0, loss=None)
    assert recorder.step(metrics) == []
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == to_json(metrics) + "\n"
    assert display.steps == [0]
    ((step, values),) = sink.logged
    assert (step, values["reward_mean"], values["pools/easy/curriculum/bonus"]) == (0, 0.25, 0.5)
    assert "loss" not in values
    recorder.close()
    assert sink.closed
    assert display.closed


def test_alarms_are_returned_and_shown(tmp_path: Path) -> None:
    display = ListedDisplay()
    recorder = Recorder(tmp_path, sinks=[], display=display, alarms=Alarms())
    recorder.start(0)
    (alarm,) = recorder.step(step_metrics(0, truncated_frac=0.9))
    assert display.messages == [f"alarm: {alarm.message}"]


def test_a_resume_drops_the_steps_that_are_taken_again(tmp_path: Path) -> None:
    record(tmp_path, 0, 6)
    record(tmp_path, 4, 8)
    assert steps_in(tmp_path) == list(range(8))


@pytest.mark.parametrize("torn", ['{"step": 3, "policy_ver', "{", '{"step": 3, "text": "\\ud8'])
def test_a_line_torn_by_a_kill_is_repaired(tmp_path: Path, torn: str) -> None:
    record(tmp_path, 0, 3)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    record(tmp_path, 3, 5)
    assert steps_in(tmp_path) == list(range(5))


def test_a_torn_line_is_repaired_at_any_byte(tmp_path: Path) -> None:
    record(tmp_path, 0, 2)
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole), 97):
        (tmp_path / "metrics.jsonl").write_bytes(whole[:end])
        record(tmp_path, 1, 2)
        assert steps_in(tmp_path) == [0, 1]


def test_a_last_line_that_lacks_only_its_newline_is_whole(tmp_path: Path) -> None:
    record(tmp_path, 0, 2)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    record(tmp_path, 2, 3)
    assert steps_in(tmp_path) == [0, 1, 2]


def test_damage_that_a_kill_cannot_do_is_named(tmp_path: Path) -> None:
    record(tmp_path, 0, 3)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "garbage", lines[2]]) + "\n")
    with pytest.raises(
        CheckpointError, match=r"metrics\.jsonl line 2: not a JSON object: b'garbage'"
    ):
        open_recorder(tmp_path, 3)


def test_a_step_out_of_order_is_our_mistake(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path)
    recorder.step(step_metrics(0))
    for step in (0, 2):
        with pytest.raises(AssertionError, match="where 1 is due"):
            recorder.step(step_metrics(step))
    assert steps_in(tmp_path) == [0]


def test_a_resume_keeps_the_evaluations_up_to_its_version(tmp_path: Path) -> None:
    recorder = open_recorder(tmp_path)
    for version in (0, 4, 8):
        recorder.evaluation(evaluation(version))
    resumed = open_recorder(tmp_path, 4)
    assert [resumed.has_evaluation(version) for version in (0, 4, 8)] == [True, True, False]
    resumed.evaluation(evaluation(8))
    lines = (tmp_path / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["version"] for line in lines] == [0, 4, 8]
    with pytest.raises(AssertionError, match="twice"):
        resumed.evaluation(evaluation(8))


def test_an_evaluation_reaches_the_display_and_the_sinks(tmp_path: Path) -> None:
    sink, display = ListedSink(), ListedDisplay()
    recorder = Recorder(tmp_path, sinks=[sink], display=display, alarms=Alarms())
    recorder.start(0)
    recorder.evaluation(evaluation(0))
    assert display.messages == ["evaluation of version 0: held-out accuracy 0.500 [0.400, 0.600]"]
    ((version, values),) = sink.logged
    assert version == 0
    assert values["evaluation/pools/easy/greedy/mean"] == 0.5
    assert values["evaluation/macro_greedy"] == 0.5


def test_a_resume_restores_the_alarms(tmp_path: Path) -> None:
    record(tmp_path, 0, 10)
    resumed = open_recorder(tmp_path, 10)
    assert [alarm.name for alarm in resumed.step(step_metrics(10, entropy=0.01))] == ["entropy"]


def test_the_machine_is_on_record_without_its_name(tmp_path: Path) -> None:
    open_recorder(tmp_path)
    machine = json.loads((tmp_path / "machine.json").read_text())
    assert {"processor", "cores", "memory", "gpus", "python"} <= set(machine)
    assert int(machine["cores"]) >= 1
