"""scripts/browser: installs a Chromium where it can, and never fails an installation."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "browser"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of the programs that this machine has; apt-get writes down what it was asked."""
    for name in ("bash", "env", "mktemp", "rm", "tail"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    return tmp_path


def add(machine: Path, name: str, body: str) -> None:
    program = machine / name
    program.write_text(f"#!{shutil.which('bash')}\n{body}\n")
    program.chmod(0o755)


def run(machine: Path) -> tuple[int, str, list[str]]:
    done = subprocess.run(
        [SCRIPT], env={"PATH": str(machine)}, capture_output=True, text=True, timeout=60
    )
    calls = machine / "calls"
    return (
        done.returncode,
        done.stdout + done.stderr,
        (calls.read_text().splitlines() if calls.exists() else []),
    )


def as_user(machine: Path, number: int, apt: str = "") -> None:
    add(machine, "id", f"echo {number}")
    add(machine, "apt-get", f'echo "$@" >>{machine}/calls\n{apt}')


def test_where_there_is_a_browser_it_says_nothing(machine: Path) -> None:
    as_user(machine, 0)
    add(machine, "google-chrome", "")
    assert run(machine) == (0, "", [])


def test_root_on_debian_gets_one(machine: Path) -> None:
    as_user(machine, 0)
    code, said, calls = run(machine)
    assert (code, said) == (0, "installing chromium for the browser tests\n")
    assert calls == [
        "update", "install --yes --no-install-recommends chromium fonts-dejavu-core",
    ]  # fmt: skip


def test_another_user_is_told_what_to_do(machine: Path) -> None:
    as_user(machine, 1000)
    code, said, calls = run(machine)
    assert (code, calls) == (0, [])
    assert "sudo apt-get install chromium" in said


def test_another_system_is_told_that_tests_will_be_skipped(machine: Path) -> None:
    code, said, _ = run(machine)
    assert code == 0
    assert "will be skipped" in said


def test_a_failed_installation_is_told_with_its_reason_and_fails_nothing(machine: Path) -> None:
    as_user(machine, 0, apt="echo E: no network; exit 100")
    code, said, _ = run(machine)
    assert code == 0
    assert "E: no network" in said
    assert "could not be installed" in said


def test_it_can_be_run_as_it_is_checked_out() -> None:
    assert os.access(SCRIPT, os.X_OK)
