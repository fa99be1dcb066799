"""scripts/gpu_check without a GPU: its verdicts on canned numbers, and its whole flow on a CPU."""

import importlib.util
import json
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlreason.config_file import load_config
from rlreason.memory.plan import GIB

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def load(name: str) -> ModuleType:
    loader = SourceFileLoader(f"{name.partition('.')[0]}_program", str(SCRIPTS / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


CHECK = load("gpu_check")
RUN = load("gpu_check_run.py")


def result(mode: str = "together", **values: Any) -> dict[str, Any]:
    facts = {
        "mode": mode,
        "dtype": "bfloat16",
        "sleeps": mode == "turns",
        "planned_bytes": 40 * GIB,
        "measured_bytes": 42 * GIB,
        "mismatch_abs": 0.01,
        "step_s": 2.0,
        "publish_s": 0.1,
        "rollout_tokens_per_s": 12000.0,
        "learner_tokens_per_s": None,
    }
    return facts | values


def verdicts(*results: dict[str, Any]) -> dict[tuple[str, str], str]:
    rows = CHECK.judge(list(results))
    return {(row["run"], row["what"]): row["verdict"] for row in rows}


def test_numbers_within_their_limits_pass() -> None:
    turns = result("turns", sleep_s=0.5, wake_and_publish_s=0.7, freed_bytes=3 * GIB)
    assert "FAILED" not in verdicts(result(), turns).values()


@pytest.mark.parametrize(
    ("values", "failed"),
    [
        ({"measured_bytes": 45 * GIB}, "measured against plan"),
        ({"measured_bytes": 35 * GIB}, "measured against plan"),
        ({"mismatch_abs": 0.2}, "engine against learner"),
        ({"sleeps": True}, "engine sleeps"),
        ({"freed_bytes": 0}, "freed by sleeping"),
    ],
)
def test_a_broken_promise_fails(values: dict[str, Any], failed: str) -> None:
    judged = verdicts(result(**values))
    assert [what for (_, what), verdict in judged.items() if verdict == "FAILED"] == [failed]


def test_a_run_that_fails_is_a_row_and_hides_no_other() -> None:
    judged = verdicts(result(), {"mode": "turns", "exit_code": 1})
    assert judged["turns", "exit code"] == "FAILED"
    assert judged["together", "engine against learner"] == "ok"


def test_the_two_ways_of_weights_are_compared() -> None:
    rows = CHECK.judge([result("shared_memory", publish_s=0.4), result("cuda_ipc", publish_s=0.1)])
    assert rows[-1]["value"] == "0.25"
    assert "FAILED" not in {row["verdict"] for row in rows}


def test_runs_under_ray_are_a_valid_recipe() -> None:
    for mode in ("shared_memory", "cuda_ipc"):
        job = {"mode": mode, "cpu": True, "steps": 0, "folder": "unused"}
        overrides = RUN.run_overrides(job, Path("tiny-arithmetic"))
        config = load_config(str(SCRIPTS / "gpu_check.yaml"), overrides)
        assert (config.cluster.backend, config.cluster.weight_sync) == ("ray", mode)


def test_float32_has_a_limit_of_its_own() -> None:
    judged = verdicts(result(mismatch_abs=0.01, dtype="float32"))
    assert judged["together", "engine against learner"] == "FAILED"


def test_the_table_has_a_line_per_row() -> None:
    rows = CHECK.judge([result()])
    lines = CHECK.as_markdown(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert "| together | measured against plan | +5.0% | within 10% | ok |" in lines
    assert not any("learner_tokens_per_s" in line for line in lines)  # unknown: not shown


def test_the_command_line() -> None:
    arguments = CHECK.parse(["--cpu", "--out", "x", "--steps", "2", "--only", "turns"])
    assert (arguments.cpu, arguments.out, arguments.steps) == (True, "x", 2)
    assert arguments.only == ["turns"]
    with pytest.raises(SystemExit):
        CHECK.parse(["--gpu"])


def test_the_memory_at_which_parts_take_turns_is_found() -> None:
    from rlreason.memory.plan import Job, plan_memory
    from rlreason.memory.shape import ModelShape
    from rlreason.rollout.memory import cache_tokens

    overrides = [f"{key}={value}" for key, value in RUN.LARGE.items()]
    config = load_config(str(SCRIPTS / "gpu_check.yaml"), overrides)
    job = Job(
        model=ModelShape(361_000_000, 32, 1024, 1024, 256, 2816, 64),
        teacher=None,
        gpu_bytes=80 * GIB,
        max_len=540,
        sequences=lambda _: 256,
        cache_tokens=cache_tokens,
        bucket_elements=100_000_000,
    )
    gib = RUN.gib_that_needs_turns(config, job)
    assert gib is not None
    assert 10 < gib < 60
    tight = plan_memory(config, job._replace(gpu_bytes=int(gib * GIB)))
    assert tight.engine.sleeps
    assert tight.overfull is None
    assert not plan_memory(config, job._replace(gpu_bytes=int((gib + 0.5) * GIB))).engine.sleeps


def test_the_whole_flow_runs_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "out"
    only = ["--only", "together"]
    done = subprocess.run(
        [sys.executable, SCRIPTS / "gpu_check", "--cpu", "--steps", "2", "--out", out, *only],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((out / "check.json").read_text())
    (measured,) = written["results"]
    assert measured["steps"] == 2
    assert measured["mismatch_abs"] < 1e-4
    assert measured["rollout_tokens_per_s"] > 0
    assert (out / "check.md").read_text() in done.stdout


def test_a_run_that_takes_too_long_is_ended_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "gpu_check_run.py").write_text(
        "import json, sys, time\n"
        "job = json.load(open(sys.argv[1]))\n"
        "job['mode'] == 'bfloat16' and (print('stuck', flush=True), time.sleep(60))\n"
        f"result = {result()!r} | {{'mode': job['mode']}}\n"
        "json.dump(result, open(f\"{job['folder']}/result_{job['mode']}.json\", 'w'))\n"
    )
    monkeypatch.setattr(CHECK, "HERE", runs)
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--cpu", "--limit-s", "2", "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        CHECK.main()
    assert ended.value.code == 1
    written = json.loads((out / "check.json").read_text())
    assert [one["mode"] for one in written["results"]] == list(CHECK.CPU_MODES)
    failed = [row["run"] for row in written["rows"] if row["verdict"] == "FAILED"]
    assert failed == ["bfloat16"]
    assert written["results"][1]["tail"] == ["stuck"]
    assert "| bfloat16 | exit code | none in 2 s |" in capsys.readouterr().out
