"""The plan of two learner ranks against every tensor of their real updates, counted on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
WHOLE = 1_000_000
"""Elements of a bucket that holds all gradients of the model."""
CASES: dict[str, dict[str, Any]] = {
    "optimizer shared": {"dtype": "float32", "stage": 1},
    "gradients shared": {"dtype": "float32", "stage": 2, "tokens": 48},
    "gradients shared, in one bucket": {
        "dtype": "bfloat16",
        "stage": 2,
        "reduce_bucket_size": WHOLE,
    },
    "weights shared": {"dtype": "float32", "stage": 3},
    "weights shared, low precision": {"dtype": "bfloat16", "stage": 3, "tokens": 48},
    # As in large models: a few layers are whole at once, and the step takes less than they.
    "weights shared, few live": {
        "dtype": "float32",
        "stage": 3,
        "tokens": 48,
        "stage3_prefetch_bucket_size": 15_000,
        "stage3_max_live_parameters": 200_000,
        "stage3_max_reuse_distance": 200_000,
    },
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Case -> (planned, counted) of each rank."""
    meeting = str(tmp_path_factory.mktemp("ranks") / "meeting")
    cases = [{"layers": 4} | case for case in CASES.values()]
    path = os.pathsep.join(map(str, (HERE.parent.parent, HERE)))

    def order(rank: int) -> str:
        return json.dumps([rank, 2, meeting, cases])

    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", HERE / "measured_update.py", order(rank)],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    ranks = [json.loads(output.splitlines()[-1]) for output in outputs]
    return dict(zip(CASES, map(list, zip(*ranks, strict=True)), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_state_and_peak_of_two_ranks(measured: dict[str, list[Any]], case: str) -> None:
    (planned, first), (_, second) = measured[case]
    for resting, _ in (first, second):
        assert planned[0] == pytest.approx(resting, rel=0.03)
    # The last rank's share is at the end of the model, where the backward begins.
    assert planned[1] == pytest.approx(max(first[1], second[1]), rel=0.1)
