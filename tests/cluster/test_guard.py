"""The guard kills whoever holds its secret, at a usual end and after kill -9 of the driver."""

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

from rlreason.cluster.guard import guarded

ROOT = Path(__file__).parents[2]
DRIVER = """
import os, subprocess, sys
from rlreason.cluster.guard import guarded
with guarded(sys.argv[1]):
    held = subprocess.Popen(["sleep", "600"], env=os.environ | {"SECRET": sys.argv[1]})
    print(held.pid, flush=True)
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
    sleepers: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    secret, (holder, other) = sleepers
    with guarded(secret):
        assert holder.poll() is None
    assert holder.wait(60) == -signal.SIGKILL
    assert other.poll() is None


def test_a_killed_driver_leaves_none(
    sleepers: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    secret, (holder, other) = sleepers
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, secret],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None
    assert driver.stdin is not None
    child = int(driver.stdout.readline())
    assert holder.poll() is None
    driver.kill()
    driver.wait()
    assert holder.wait(60) == -signal.SIGKILL
    assert other.poll() is None
    deadline = time.monotonic() + 60
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.stdin.close()
    driver.stdout.close()
