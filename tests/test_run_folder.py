"""The run folder: one owner, one configuration, nothing deleted, nothing outside."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from rlreason.config import ClusterSection, EvaluationSection, LogSection, RunSection
from rlreason.errors import ConfigError, RunLockedError
from rlreason.run_folder import RunFolder


class Pool(BaseModel):
    name: str
    options: dict[str, int] = {}


class Learner(BaseModel):
    learning_rate: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.95)


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    run: RunSection = RunSection()
    pools: tuple[Pool, ...] = (Pool(name="add"),)
    evaluation: EvaluationSection = EvaluationSection()
    learner: Learner = Learner()
    cluster: ClusterSection = ClusterSection()
    log: LogSection = LogSection()


def start(path: Path, config: Config | None = None, *, fresh: bool = False) -> RunFolder:
    config = config or Config()
    # JSON is YAML.
    return RunFolder(path).open(config, config_text=config.model_dump_json(), fresh=fresh)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mine"


def test_the_first_start_makes_the_tree(path: Path) -> None:
    with start(path) as run:
        assert not run.resumed
        assert run.attempt == 1
        made = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
        assert made == {"config.yaml", "steps", "checkpoints", "evaluations", "log"}
        assert Config.model_validate_json(run.config_file.read_text()) == Config()


def test_a_second_process_is_refused_with_pid_and_host_of_the_first(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from rlreason.config import RunSection\n"
        "from rlreason.errors import RunLockedError; from rlreason.run_folder import RunFolder\n"
        "try: RunFolder(Path(sys.argv[1])).open(RunSection(), config_text='{}')\n"
        "except RunLockedError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    with start(path):
        second = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
    assert f"held by process {os.getpid()} on {os.uname().nodename}" in second.stdout


@pytest.mark.parametrize("fresh", [False, True])
def test_an_open_folder_is_refused_and_left_as_it_is(path: Path, fresh: bool) -> None:
    with start(path):
        with pytest.raises(RunLockedError, match=f"process {os.getpid()} on "):
            start(path, fresh=fresh)
        assert [entry.name for entry in path.parent.iterdir()] == ["mine"]


def test_a_lock_without_a_note_of_its_owner_is_refused_too(path: Path) -> None:
    with start(path):
        (path / ".lock-owner.json").write_text("{")
        with pytest.raises(RunLockedError, match="another process"):
            start(path)


def test_a_closed_run_continues_and_counts_its_attempts(path: Path) -> None:
    start(path).close()
    with start(path) as run:
        assert run.resumed
        assert run.changes == {}
        assert run.attempt == 2
    assert {entry.name for entry in run.log.iterdir()} == {"attempt_1.log", "attempt_2.log"}


def test_each_attempt_logs_to_its_own_file(path: Path) -> None:
    logger = logging.getLogger("rlreason.anything")
    for attempt in (1, 2):
        with start(path):
            logger.warning("message of attempt %d", attempt)
    logger.warning("message after the end")
    for attempt in (1, 2):
        text = (path / "log" / f"attempt_{attempt}.log").read_text()
        assert text.count("message") == 1
        assert f"message of attempt {attempt}" in text


def test_more_steps_and_other_intervals_continue_the_run(path: Path) -> None:
    start(path).close()
    config = Config(
        run=RunSection(steps=20, checkpoint_every=2, keep_checkpoints=9, folder="elsewhere"),
        evaluation=EvaluationSection(every=0),
        cluster=ClusterSection(threads=2),
        log=LogSection(wandb={"project": "p"}),
    )
    with start(path, config) as run:
        assert run.changes["run.steps"] == (100, 20)
        assert run.changes["log.wandb.project"] == ("absent", "p")
        assert set(run.changes) == {
            *("run.steps", "run.checkpoint_every", "run.keep_checkpoints", "run.folder"),
            *("evaluation.every", "cluster.threads", "log.wandb", "log.wandb.project"),
        }
        assert "run.steps: 100 before, 20 now" in (path / "log" / "attempt_2.log").read_text()
    with start(path, config) as run:  # the new values are the run's from then on
        assert run.changes == {}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (Config(run=RunSection(seed=1)), "run.seed: 0 before, 1 now"),
        (Config(run=RunSection(name="other")), "run.name: 'run' before, 'other' now"),
        (Config(cluster=ClusterSection(deterministic=True)), "cluster.deterministic: None"),
        (Config(learner=Learner(betas=(0.9, 0.99))), "learner.betas: [0.9, 0.95] before"),
        (Config(learner=Learner(learning_rate=2e-6)), "learner.learning_rate: 1e-06 before"),
        (Config(pools=(Pool(name="mul"),)), "pools: added ['mul'] and removed ['add']; a renamed"),
        (Config(pools=(Pool(name="add"), Pool(name="mul"))), "pools: added ['mul']; a renamed"),
        (Config(pools=(Pool(name="add", options={"low": 1}),)), "pools.add.options.low: 'absent'"),
    ],
)
def test_what_shaped_the_run_may_not_change(path: Path, config: Config, field: str) -> None:
    start(path).close()
    before = (path / "config.yaml").read_text()
    with pytest.raises(ConfigError) as refusal:
        start(path, config)
    message = str(refusal.value)
    assert field in message
    assert "--fresh" in message
    assert "another run.name" in message
    assert (path / "config.yaml").read_text() == before
    start(path).close()  # the refusal released the lock


def test_a_refusal_names_only_fields_that_may_not_change(path: Path) -> None:
    start(path).close()
    with pytest.raises(ConfigError) as refusal:
        start(path, Config(run=RunSection(seed=1, steps=99)))
    assert "run.seed" in str(refusal.value)
    assert "run.steps" not in str(refusal.value)


@pytest.mark.parametrize("text", ["run: {steps: many}", "unknown: 1", "a: [", "\x00"])
def test_a_config_that_was_edited_is_an_error(path: Path, text: str) -> None:
    start(path).close()
    (path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be compared"):
        start(path)


def test_fresh_keeps_the_old_run_under_another_name(path: Path) -> None:
    start(path).close()
    (path / "steps" / "000000").mkdir()
    with start(path, Config(run=RunSection(seed=1)), fresh=True) as run:
        assert not run.resumed
        assert run.attempt == 1
        assert not any(run.steps.iterdir())
        [old] = [entry for entry in path.parent.iterdir() if entry.name != "mine"]
        assert old.name.startswith("mine.old-")
        assert (old / "steps" / "000000").is_dir()
        assert (old / "config.yaml").exists()
        with pytest.raises(RunLockedError):
            start(path)


def test_fresh_without_an_old_run_is_a_first_start(path: Path) -> None:
    with start(path, fresh=True) as run:
        assert not run.resumed
    assert [entry.name for entry in path.parent.iterdir()] == ["mine"]


def test_leftovers_of_a_killed_process_are_removed(path: Path) -> None:
    start(path).close()
    leftover = f"000003.tmp-{'a' * 32}"
    for parent in (path, path / "steps", path / "checkpoints"):
        (parent / leftover).mkdir()
        (parent / leftover / "file").write_text("half")
    with start(path):
        assert not list(path.rglob("*.tmp-*"))


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_something_else_is_left_alone(path: Path, fresh: bool) -> None:
    path.mkdir(parents=True)
    (path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"holds thesis\.tex, but no config\.yaml"):
        start(path, fresh=fresh)
    assert [entry.name for entry in path.iterdir()] == ["thesis.tex"]


def test_steps_without_a_config_are_no_run(path: Path) -> None:
    start(path).close()
    (path / "steps" / "000000").mkdir()
    (path / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="no run that could be continued"):
        start(path)


def test_a_start_killed_before_the_config_was_written_starts_again(path: Path) -> None:
    start(path).close()
    shutil.rmtree(path / "log")
    (path / "config.yaml").rename(path / f"config.yaml.tmp-{'b' * 32}")
    with start(path) as run:
        assert not run.resumed


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "a\x00b", "a" * 129, "-rf"])
def test_names_that_are_no_plain_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.name"):
        start(tmp_path / "runs" / name)


def test_a_link_out_of_the_root_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    path.parent.mkdir()
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="is a link to"):
        start(path)
    assert not any((tmp_path / "outside").iterdir())


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl", "config.yaml"])
def test_a_link_out_of_the_run_folder_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    start(path).close()
    if name == "checkpoints":
        (path / name).rmdir()
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="out of the run folder"):
        start(path)
    assert not (tmp_path / "outside").exists()


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder, and the rights of a user who is not root, to whom permissions apply."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o777)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    yield root
    if was_root:
        os.seteuid(0)
    for folder in (root, *root.rglob("*")):
        folder.chmod(0o755)
    shutil.rmtree(root)


def test_a_root_without_write_permission_is_a_clear_error(ordinary_user: Path) -> None:
    (ordinary_user / "runs").mkdir(mode=0o555)
    with pytest.raises(ConfigError, match=r"Permission denied.*choose another place"):
        start(ordinary_user / "runs" / "mine")


def test_a_read_only_run_folder_is_a_clear_error(ordinary_user: Path) -> None:
    start(ordinary_user / "mine").close()
    (ordinary_user / "mine").chmod(0o555)
    with pytest.raises(ConfigError, match=r"Permission denied.*choose another place"):
        start(ordinary_user / "mine")


def test_a_file_in_place_of_the_root_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ConfigError, match="choose another place"):
        start(tmp_path / "runs" / "mine")


def test_reading_a_run_takes_no_lock(path: Path) -> None:
    with start(path) as run:
        reader = RunFolder(path)
        assert reader.metrics_file == run.metrics_file == path / "metrics.jsonl"
