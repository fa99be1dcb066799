"""Real runs of critique fine-tuning from the command line: killed in every stage, and changed.

One run is killed with -9 once in each stage; every start goes on from what the kill before it
left. It ends with the same files as a run that nobody killed, and no teacher was asked twice. One
teacher is an endpoint on loopback, which sends back the key that it was called with.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow.parquet as pq
import pytest
from chat_server import KEY, VARIABLE, ChatServer, Response, chat, serving
from warm_start import WarmProcess

from rlreason.cft_cli import train_cft
from rlreason.config import CftConfig
from rlreason.config_file import load_run_config
from rlreason.critique.artifacts import read_rows
from rlreason.critique.records import Candidate, CritiqueExample, TeacherResponse
from rlreason.critique.tables import read_table
from rlreason.data.arithmetic_teacher import critique
from rlreason.errors import ConfigError

WRITERS = '''
"""Generators and a teacher that note every call."""
import os
from pathlib import Path
from rlreason.data.arithmetic import completion_text, solve
from rlreason.data.arithmetic_teacher import ArithmeticTeacher
from rlreason.types import TextReply


def note(line):
    with open(Path(__file__).with_name("calls.txt"), "a") as file:
        file.write(line + "\\n")


class Solver:
    def __init__(self, right_each):
        self.right_each = right_each

    def write(self, requests):
        for request in requests:
            note("solve " + request.key)
            task, operands = request.problem.prompt.split(" ")
            solution = completion_text(task, solve(task, operands))
            wrong = request.sample % self.right_each != 0
            tail = f"\\\\boxed{{{request.sample}}}" if wrong else ""
            yield TextReply(key=request.key, text=solution + tail)


class Teacher(ArithmeticTeacher):
    def write(self, requests):
        for reply in super().write(requests):
            note("judge " + reply.key)
            yield reply
'''
RECIPE = """
kind: cft
run: {name: small}
model: {path: tiny-arithmetic-critic}
pools:
  - name: add2
    source: arithmetic:add
    options: {digits: 2, size: 60}
    validation: 4
    held_out: 4
scoring: {reward: {use: "rewards.boxed_exact:BoxedExact", strict_format: false}}
generators:
  - {name: half, use: {use: "writers.py:Solver", right_each: 2}}
  - {name: third, use: {use: "writers.py:Solver", right_each: 3}}
candidates: {samples: 6, template: "{problem}"}
teachers:
  - {name: careless, endpoint: ENDPOINT, model: big, key_from: VARIABLE, concurrency: 1}
  - {name: careful, use: "writers.py:Teacher"}
critiques: {template: "{problem}|{solution}?"}
training: {template: "{problem}|{solution}?", batch_size: 4, updates: 4, checkpoint_every: 2}
learner: {learning_rate: 1e-3}
baselines: [sft_one]
cluster: {threads: 1}
evaluation: {samples: 1, max_completion_tokens: 30, verdicts: 4}
"""


class Straight(NamedTuple):
    """A run that nobody killed."""

    folder: Path
    server: ChatServer
    """The endpoint of the run, still open."""
    prompts: dict[str, int]
    """Prompt -> calls to the endpoint with it."""


def careless(prompt: str, before: int) -> Response:
    """A critique that is true of every other solution; every third one quotes the call's key."""
    problem, _, solution = prompt.removesuffix("?").partition("|")
    number = int(re.findall(r"[0-9]+", solution)[-1])
    text = critique("add", problem.removeprefix("add "), solution, flawed=number % 2 == 0)
    return chat(f"{KEY}\n{text}" if number % 3 == 0 else text)


def run(
    folder: Path, server: ChatServer, *, fault: str | None = None, warm: WarmProcess | None = None
) -> tuple[int, str]:
    """By the command line itself, or in a fork that has only the imports behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "writers.py").write_text(WRITERS)
    recipe = RECIPE.replace("ENDPOINT", f'"{server.url}"').replace("VARIABLE", VARIABLE)
    (folder / "small.yaml").write_text(recipe)
    arguments = ("-m", "rlreason", "train", "small.yaml")
    environment = {VARIABLE: KEY} | ({"RLREASON_FAULT": fault} if fault else {})
    if warm is not None:
        return warm.run(*arguments, cwd=folder, environment=environment)
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | environment | {"PYTHONPATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout


class Here(Protocol):
    """Starts the recipe in a folder again, in this process: nothing heavy is to start."""

    def __call__(self, folder: Path, *changes: str, until: str | None = None) -> None: ...


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    def start(folder: Path, *changes: str, until: str | None = None) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setenv(VARIABLE, KEY)
        config = load_run_config("small.yaml", changes)
        assert isinstance(config, CftConfig)
        train_cft(config, until=until, dry_run=False, fresh=False)

    return start


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Straight]:
    folder = tmp_path_factory.mktemp("straight")
    with serving(careless) as server:
        code, output = run(folder, server)
        assert code == 0, output
        assert "report:" in output
        prompts = dict(server.prompts)
        server.calls.clear()
        yield Straight(folder, server, prompts)


def stage_files(folder: Path) -> dict[str, bytes]:
    files = (folder / "runs" / "small" / "stages").glob("*.parquet")
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.timeout(1200)  # on busy cores
def test_a_run_killed_in_every_stage_ends_with_the_same_files(
    straight: Straight, tmp_path: Path, warm: WarmProcess
) -> None:
    faults = ("seeds:0", "candidates:3", "critiques:5", "filter:0", "train:3", "evaluate:2")
    for fault in faults:
        code, output = run(tmp_path, straight.server, fault=f"{fault}:kill9", warm=warm)
        assert code == -signal.SIGKILL, f"{fault}: {output}"
    code, output = run(tmp_path, straight.server, warm=warm)
    assert code == 0, output
    expected = stage_files(straight.folder)
    assert len(expected) == 6
    assert stage_files(tmp_path) == expected
    calls = (tmp_path / "calls.txt").read_text().splitlines()
    assert len(calls) == len(set(calls)) == 12 + 12
    assert sorted(calls) == sorted((straight.folder / "calls.txt").read_text().splitlines())
    assert straight.server.prompts == straight.prompts
    assert sum(straight.prompts.values()) == 12


def test_no_file_of_the_run_holds_the_key_that_the_endpoint_sent_back(straight: Straight) -> None:
    replies = straight.folder / "runs" / "small" / "stages" / "replies" / "critiques"
    assert "[hidden]" in (replies / "careless.jsonl").read_text()
    files = [path for path in (straight.folder / "runs").rglob("*") if path.is_file()]
    assert {".parquet", ".jsonl", ".yaml", ".html", ".log"} <= {path.suffix for path in files}
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
        if path.suffix == ".parquet":  # compressed
            table = pq.read_table(path)
            assert KEY not in f"{table.to_pylist()} {table.schema.metadata}", path


def test_every_pair_of_generator_and_teacher_is_accounted_for(straight: Straight) -> None:
    stages = straight.folder / "runs" / "small" / "stages"
    candidates, _ = read_rows(stages / "candidates.parquet", Candidate)
    responses, _ = read_rows(stages / "critiques.parquet", TeacherResponse)
    examples, provenance = read_rows(stages / "filter.parquet", CritiqueExample)
    assert len(candidates) == 12
    assert len(responses) == len(examples) == 24
    by_pair = {(row["generator"], row["teacher"]): row for row in provenance.counts["funnel"]}
    assert set(by_pair) == {(g, t) for g in ("half", "third") for t in ("careful", "careless")}
    assert all(
        row["responses"] == row["kept"] + sum(row["dropped"].values()) == 6
        for row in by_pair.values()
    )
    assert "wrong_verdict" not in by_pair["half", "careful"]["dropped"]
    flawed = [row["dropped"].get("wrong_verdict", 0) for row in by_pair.values()]
    assert sum(flawed) > 0
    page = (straight.folder / "runs" / "small" / "report.html").read_text()
    assert page.count("<td>careless</td>") == 2


def test_every_checkpoint_is_examined_and_one_of_each_training_selected(
    straight: Straight,
) -> None:
    rows = read_table(straight.folder / "runs" / "small" / "stages" / "evaluate.parquet")
    policies = [(row["method"], row["update"]) for row in rows]
    assert policies == [("base", 0), ("cft", 2), ("cft", 4), ("sft_one", 2), ("sft_one", 4)]
    chosen = [row["method"] for row in rows if row["selected"]]
    assert sorted(chosen) == ["base", "cft", "sft_one"]
    assert all(json.loads(row["examined"])["test"]["overall"]["num_problems"] == 4 for row in rows)
    assert all((row["detail"] is not None) == row["selected"] for row in rows)


def test_the_same_command_again_does_nothing_and_a_change_only_what_it_must(
    straight: Straight, here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = len(straight.server.asked_for_models)
    here(straight.folder)
    assert capsys.readouterr().out.count("unchanged, kept") == 6
    here(straight.folder, "filter.wanted=4", until="filter")
    output = capsys.readouterr().out
    assert output.count("unchanged, kept") == 3
    assert "filter: done" in output
    assert len(straight.server.asked_for_models) == asked  # no teacher has anything to do


def test_an_endpoint_where_nobody_answers_is_named_before_any_stage(
    straight: Straight, here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = "http://127.0.0.1:1/v1"
    with pytest.raises(ConfigError, match=r"^teachers\.careless\.endpoint = .* can be reached"):
        here(straight.folder, f"teachers.careless.endpoint={nobody}", "run.name=nobody")
    assert "stage" not in capsys.readouterr().out
