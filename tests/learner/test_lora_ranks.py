"""An adapter trained by two ranks is the one that a single rank trains, and goes on from either."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from warm_start import WarmProcess

HERE = Path(__file__).parent
STAGES = [0, 2]
"""Stage 1 shares DeepSpeed's code with 2."""


def run(warm: WarmProcess, place: Path, *, ranks: int, jobs: list[dict[str, Any]]) -> None:
    """Do the jobs, one after the other, in a process per rank."""
    order = {"ranks": ranks, "meeting": str(place / f"meeting-{ranks}"), "jobs": jobs}
    started = [
        warm.start(HERE / "lora_rank.py", json.dumps(order | {"rank": rank}))
        for rank in range(ranks)
    ]
    for rank in started:
        code, output = rank.finish()
        assert code == 0, output


def facts(folder: Path, stage: int) -> dict[str, Any]:
    return json.loads((folder / f"zero{stage}" / "facts.json").read_text())


@pytest.fixture(scope="module")
def folders(warm: WarmProcess, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """One rank's, two ranks', and what one rank holds after loading the latter."""
    place = tmp_path_factory.mktemp("ranks")
    one, two, again = (place / name for name in ("one", "two", "again"))
    learns = {"stages": STAGES}
    run(warm, place, ranks=2, jobs=[learns | {"folder": str(two)}])
    loads = learns | {"folder": str(again), "load": str(two)}
    run(warm, place, ranks=1, jobs=[learns | {"folder": str(one)}, loads])
    return one, two, again


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_publish_what_one_does(folders: tuple[Path, Path, Path], stage: int) -> None:
    one, two, _ = folders
    assert facts(two, stage)["grad_norm"] == pytest.approx(facts(one, stage)["grad_norm"], rel=1e-4)
    mine, theirs = (load_file(f / f"zero{stage}" / "weights.safetensors") for f in (two, one))
    for name in theirs:
        # Adam makes of the rounding of a gradient near 0 another small step: not to the bit.
        torch.testing.assert_close(mine[name], theirs[name], atol=2e-3, rtol=0)
    exported = load_file(two / f"zero{stage}" / "policy" / "model.safetensors")
    assert all(torch.equal(exported[name], mine[name]) for name in exported)


@pytest.mark.parametrize("stage", STAGES)
def test_what_two_ranks_saved_continues_on_one(
    folders: tuple[Path, Path, Path], stage: int
) -> None:
    _, two, again = folders
    assert facts(again, stage)["before"] == facts(two, stage)["after"]
