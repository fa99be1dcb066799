"""bench_peers on canned numbers: what is timed, what is compared, what is printed and refused."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from rlreason.config_file import load_config

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, which has no suffix, as a module."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    loader = SourceFileLoader("bench_peers_program", str(SCRIPTS / "bench_peers"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def result(program: ModuleType, *step_s: float, cpu_s: float = 1.0, **values: Any) -> Any:
    facts = {"completion_tokens": 40.0, "reward": 0.9, "start_s": 10.0, "policy": "x"}
    return program.SegmentResult(step_s=step_s, cpu_s=cpu_s, **facts | values)


def canned(program: ModuleType) -> Any:
    phases = {"rollout": 0.3, "learn": 0.1}
    segments = {
        "trl": [result(program, 2.0, 4.0, cpu_s=6.0), result(program, 2.0, cpu_s=9.0)],
        "rlreason": [
            result(program, 1.0, cpu_s=3.0, phase_s=phases),
            result(program, 4.0, cpu_s=3.0, phase_s=phases),
        ],
    }
    accuracy = {"trl": [0.9, 0.8], "rlreason": [0.95, 0.97]}
    return program.JobResult("default: canned", segments, accuracy, 0.2)


def test_the_ratio_is_trl_over_rlreason_within_each_repeat(program: ModuleType) -> None:
    job = canned(program)
    # Repeat 0: mean of 2 and 4 over 1; repeat 1: 2 over 4. The ratio of the medians would be 1.
    assert job.ratio() == (1.75, 0.5, 3.0)
    assert job.cpu_ratio() == (2.5, 2.0, 3.0)
    assert job.step_s("trl") == (2.5, 2.0, 3.0)


def test_the_tables_show_both_contenders_the_ratio_and_the_phases(program: ModuleType) -> None:
    console = Console(width=140)
    with console.capture() as capture:
        console.print(program.contenders_table(canned(program)))
        console.print(program.phases_table(canned(program)))
    text = capture.get()
    for part in ("2.5 (2 to 3)", "0.850 (0.900, 0.800)", "0.960 (0.950, 0.970)", "base 0.200"):
        assert part in text
    assert "1.75 (0.5 to 3)" in text
    assert "300.0" in text
    assert "75.0 %" in text


def test_every_number_is_written_as_json(program: ModuleType) -> None:
    written = json.loads(json.dumps(canned(program).to_json()))
    assert written["ratio"]["middle"] == 1.75
    assert [one["step_s"] for one in written["segments"]["trl"]] == [[2.0, 4.0], [2.0]]
    assert written["phase_s"] == pytest.approx({"rollout": 0.3, "learn": 0.1})


def test_warm_up_steps_are_in_no_time(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench_peers_segment as segment

    ends: Iterator[float] = iter([110.0, 113.0, 117.0])  # of steps 2 to 4
    seconds: Iterator[float] = iter([50.0, 58.0])  # processor time at the ends of steps 2 and 4
    monkeypatch.setattr(segment.time, "perf_counter", lambda: next(ends))
    monkeypatch.setattr(segment, "_cpu_seconds", lambda: next(seconds))
    stamps = segment.Stamps(warmup=2, steps=4)
    for _ in range(4):
        stamps.mark()
    assert stamps.step_s == (3.0, 4.0)
    assert stamps.cpu_s == 4.0


def test_contenders_take_turns_on_equal_seeds_and_threads(
    program: ModuleType, tmp_path: Path
) -> None:
    plan = program.Plan(
        name="default",
        job=program.JOBS["default"],
        overrides=("run.steps=7",),
        repeats=2,
        threads=1,
        trl_batch=64,
        folder=tmp_path,
    )
    segments = [segment for _, segment in plan.segments()]
    assert [segment.contender for segment in segments] == ["trl", "rlreason"] * 2
    configs = [segment.config() for segment in segments]
    assert [config.run.seed for config in configs] == [0, 0, 1, 1]
    assert {(config.run.steps, config.cluster.threads) for config in configs} == {(7, 1)}
    assert len({segment.folder for segment in segments}) == 4


@pytest.mark.parametrize(
    ("recipe", "completions"),
    [("bench_peers_arithmetic.yaml", 128), ("bench_peers_smollm2.yaml", 32)],
)
def test_the_jobs_are_valid_recipes_of_the_stated_size(recipe: str, completions: int) -> None:
    rollout = load_config(str(SCRIPTS / recipe)).rollout
    assert rollout.problems_per_step * rollout.group_size == completions


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--job", "defualt"], "known: default, smollm2"),
        (["--job", "default", "--steps", "5"], "are warm-up"),
        (["--repeats", "0"], "--repeats"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    program: ModuleType, arguments: list[str], message: str
) -> None:
    app = typer.Typer()
    app.command()(program.main)
    outcome = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "TERM": "dumb"})
    assert outcome.exit_code == 2
    assert message in outcome.output
