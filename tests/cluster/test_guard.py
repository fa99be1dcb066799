"""The guard kills whoever holds its secret, at a usual end and after kill -9 of the driver."""

import io
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from process_tree import is_alive

from rlreason.cluster import guard
from rlreason.cluster.guard import guarded

ROOT = Path(__file__).parents[2]
DRIVER = """
import os, subprocess, sys
from rlreason.cluster.guard import guarded
secret, folder = sys.argv[1:]
with guarded(secret, folder), open(folder + "/log", "w") as log:
    held = subprocess.Popen(["sleep", "600"], env=os.environ | {"SECRET": secret})
    titled = subprocess.Popen(["sleep", "600"], stdout=log)
    print(held.pid, titled.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def sleepers() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A secret, a process that holds it and one that holds another."""
    secret = secrets.token_hex(16)
    held = [
        subprocess.Popen(["sleep", "600"], env=os.environ | {"SECRET": value})
        for value in (secret, secret[::-1])
    ]
    yield secret, held
    for process in held:
        process.kill()
        process.wait()


def test_at_the_end_of_the_block_holders_alone_are_killed(
    sleepers: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    secret, (holder, other) = sleepers
    # This process lives on, though it has a file of the folder open.
    with (tmp_path / "log").open("w"), guarded(secret, str(tmp_path)):
        assert holder.poll() is None
    assert holder.wait(10) == -signal.SIGKILL
    assert other.poll() is None


def test_a_killed_driver_leaves_none(
    sleepers: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    secret, (holder, other) = sleepers
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, secret, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    assert driver.stdin is not None
    children = [int(number) for number in driver.stdout.readline().split()]
    assert holder.poll() is None
    driver.kill()
    driver.wait()
    assert holder.wait(10) == -signal.SIGKILL
    assert other.poll() is None
    deadline = time.monotonic() + 10
    while any(map(is_alive, children)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.stdin.close()
    driver.stdout.close()


@pytest.mark.parametrize("said", [b"", b"1\n", b"1\nsecret\n", b"1\nsecret\n/tm"])
def test_a_driver_that_dies_before_it_has_said_all_costs_nobody(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Never a real guard here: one that takes an empty secret would end this user's every process.
    monkeypatch.setattr(guard, "kill_holders", lambda *told: pytest.fail(f"killed by {told}"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said)))
    guard.main()
