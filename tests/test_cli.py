"""The command line: exit codes, messages, what each verb calls, and what it never imports."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rlreason.cli import app
from rlreason.config import GrpoConfig
from rlreason.config_file import RECIPES
from rlreason.errors import CheckpointError, ConfigError, DataError, PluginError, TrainingStopped

SECTION = {
    "num_problems": 10,
    "greedy": {"mean": 0.25, "low": 0.1, "high": 0.5},
    "avg_at_k": None,
    "pass_at_k": {},
    "mean_tokens": 3.0,
    "truncated_frac": 0.0,
    "unparseable_frac": 0.0,
    "num_infra": 0,
}


def evaluation(version: int) -> dict[str, Any]:
    return {
        "version": version,
        "samples": 0,
        "pools": {"add3": SECTION},
        "overall": SECTION,
        "macro_greedy": 0.25,
    }


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the verbs called, with the heavy modules replaced by ones that only note it."""
    noted: list[Any] = []

    def fake(name: str, **functions: Any) -> None:
        module = ModuleType(name)
        module.__dict__.update(functions)
        monkeypatch.setitem(sys.modules, name, module)

    def preflight(config: GrpoConfig) -> Any:
        noted.append(("preflight", config.run.name))
        return SimpleNamespace(render=lambda config: f"plan of {config.run.name}", memory_job="job")

    def memory_plans(config: GrpoConfig, job: str) -> Any:
        def require_fit() -> None:
            noted.append(("memory of", job))

        return SimpleNamespace(tables=lambda: ["a table of memory"], require_fit=require_fit)

    def train_to_the_end(config: GrpoConfig, *, fresh: bool) -> None:
        noted.append(("train", config.run.name, fresh))

    def write_report(folder: Path, step: int | None = None) -> Path:
        noted.append(("report", str(folder), step))
        return folder / "report.html"

    def evaluate_checkpoint(folder: Path, checkpoint: int | None) -> Any:
        from rlreason.evaluate import Evaluation

        noted.append(("evaluate", str(folder), checkpoint))
        return Evaluation.from_json(evaluation(checkpoint or 7))

    fake("rlreason.preflight", preflight=preflight)
    fake("rlreason.preflight_memory", memory_plans=memory_plans)
    fake("rlreason.build", evaluate_checkpoint=evaluate_checkpoint)
    fake("rlreason.restarting", train_to_the_end=train_to_the_end)
    fake(
        "rlreason.report",
        write_report=write_report,
        best_and_worst=lambda folder, step: f"completions of step {step}",
    )
    return noted


def rlreason(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def make_run(name: str, *versions: int) -> Path:
    folder = Path("runs") / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("kind: grpo\n")
    lines = [json.dumps(evaluation(version)) + "\n" for version in versions]
    (folder / "evaluations.jsonl").write_text("".join(lines))
    return folder


def test_train_trains_and_reports(calls: list[Any]) -> None:
    make_run("trial", 0, 20, 40)
    result = rlreason("train", "grpo.yaml", "run.name=trial", "--fresh")
    assert result.exit_code == 0, result.output
    assert calls == [
        ("train", "trial", True),
        ("report", "runs/trial", None),
    ]
    assert "version 0 -> 40" in result.stdout
    assert "report: runs/trial/report.html" in result.stdout


def test_train_resumes_unless_fresh_is_asked_for(calls: list[Any]) -> None:
    make_run("quickstart")
    assert rlreason("train", "grpo.yaml").exit_code == 0
    assert calls[0] == ("train", "quickstart", False)


def test_a_dry_run_prints_config_and_plan_and_builds_nothing(calls: list[Any]) -> None:
    result = rlreason("train", "grpo.yaml", "run.seed=5", "--dry-run")
    assert result.exit_code == 0, result.output
    assert calls == [("preflight", "quickstart"), ("memory of", "job")]
    assert "a table of memory" in result.stdout
    assert "  seed: 5\n" in result.stdout
    assert "plan of quickstart" in result.stdout
    assert not any(Path().iterdir())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError, 2),
        (DataError, 2),
        (PluginError, 2),
        (CheckpointError, 1),
        (TrainingStopped, 1),
    ],
)
def test_a_deliberate_error_is_its_message_and_an_exit_code(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch, error: type[Exception], code: int
) -> None:
    def refuse(config: GrpoConfig, *, fresh: bool) -> None:
        raise error("step 3: this and that")

    monkeypatch.setattr(sys.modules["rlreason.restarting"], "train_to_the_end", refuse)
    result = rlreason("train", "grpo.yaml")
    assert result.exit_code == code
    assert result.stderr == "step 3: this and that\n"
    assert result.stdout == ""


@pytest.mark.parametrize("code", [130, 143])
def test_the_exit_code_of_a_signal_is_the_trainers(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def stop(config: GrpoConfig, *, fresh: bool) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(sys.modules["rlreason.restarting"], "train_to_the_end", stop)
    assert rlreason("train", "grpo.yaml").exit_code == code


def test_an_error_of_ours_is_not_hidden(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys.modules["rlreason.restarting"], "train_to_the_end", lambda *_, **__: [][0]
    )
    assert isinstance(rlreason("train", "grpo.yaml").exception, IndexError)


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b", "..", ".hidden", "x\\0", "", "a" * 300, "x y", "~"]
)
def test_a_run_name_that_is_no_plain_name_is_refused(calls: list[Any], name: str) -> None:
    result = rlreason("train", "grpo.yaml", f"run.name={json.dumps(name)}")
    assert result.exit_code == 2
    assert "a name has 1 to 128 letters" in result.stderr
    assert calls == []


def test_eval_shows_the_checkpoint_beside_the_first_version(calls: list[Any]) -> None:
    make_run("trial", 0, 40)
    result = rlreason("eval", "trial", "--checkpoint", "20")
    assert result.exit_code == 0, result.output
    assert calls == [("evaluate", "runs/trial", 20)]
    assert "version 0 -> 20" in result.stdout


def test_eval_works_without_an_earlier_evaluation(calls: list[Any]) -> None:
    make_run("trial")
    assert "version 7 -> 7" in rlreason("eval", "trial").stdout


def test_report_takes_a_folder_and_shows_completions(calls: list[Any]) -> None:
    folder = make_run("trial")
    result = rlreason("report", str(folder), "--completions", "4")
    assert calls == [("report", "runs/trial", 4)]
    assert result.stdout == "completions of step 4\nreport: runs/trial/report.html\n"


@pytest.mark.parametrize("verb", ["eval", "report"])
def test_an_unknown_run_names_the_closest(calls: list[Any], verb: str) -> None:
    make_run("trial")
    result = rlreason(verb, "trail")
    assert result.exit_code == 2
    assert "did you mean 'trial'?" in result.stderr
    assert calls == []


def test_init_lists_the_shipped_recipes_with_a_title() -> None:
    lines = rlreason("init").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [path.name for path in sorted(RECIPES.glob("*"))]
    assert any(line.startswith("grpo.yaml ") and "The default run" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "target"),
    [(["grpo"], "grpo.yaml"), (["grpo.yaml", "mine.yaml"], "mine.yaml"), (["grpo", "."], None)],
)
def test_init_copies_a_shipped_recipe(arguments: list[str], target: str | None) -> None:
    assert rlreason("init", *arguments).exit_code == 0
    copied = Path(target or "grpo.yaml")
    assert copied.read_bytes() == (RECIPES / "grpo.yaml").read_bytes()


def test_init_copies_the_shipped_recipe_even_beside_an_own_one() -> None:
    Path("grpo.yaml").write_text("mine")
    assert rlreason("init", "grpo.yaml", "new.yaml").exit_code == 0
    assert Path("new.yaml").read_bytes() == (RECIPES / "grpo.yaml").read_bytes()


def test_init_overwrites_nothing() -> None:
    Path("grpo.yaml").write_text("mine")
    result = rlreason("init", "grpo.yaml")
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert Path("grpo.yaml").read_text() == "mine"


def test_init_of_an_unknown_recipe_names_the_closest() -> None:
    result = rlreason("init", "grop")
    assert result.exit_code == 2
    assert "did you mean 'grpo.yaml'?" in result.stderr


@pytest.mark.parametrize(("states", "code"), [(("fine", "note"), 0), (("fine", "broken"), 1)])
def test_doctor_leaves_with_1_if_something_is_broken(
    monkeypatch: pytest.MonkeyPatch, states: tuple[str, ...], code: int
) -> None:
    from rlreason import doctor

    findings = [
        doctor.Finding(name=f"part {n}", state=state, found="x", fix="do y")
        for n, state in enumerate(states)
    ]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    result = rlreason("doctor", "--json")
    assert result.exit_code == code
    assert [item["state"] for item in json.loads(result.stdout)] == list(states)
    assert rlreason("doctor").exit_code == code


@pytest.mark.parametrize("verb", ["train", "eval", "report", "init"])
def test_the_help_of_a_verb_teaches_by_example(verb: str) -> None:
    help_text = rlreason(verb, "--help").stdout
    assert f"  rlreason {verb} " in help_text.partition("Examples:")[2]


def test_help_names_every_verb_and_the_version_is_told() -> None:
    verbs = rlreason("--help").stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in verbs.strip().splitlines()] == [
        "train",
        "eval",
        "sweep",
        "report",
        "init",
        "doctor",
        "reward",
    ]
    assert rlreason("--version").stdout.startswith("rlreason 0.")
