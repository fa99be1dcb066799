"""One step off-policy with fakes: a run that ends anywhere continues to the same end.

The chain world's weights are a hash of all that was drawn, sampled and learned, so equal weights
at the end mean that every step was drawn by the same curriculum and sampled from the same version.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chain_world import ChainWorld, resumed

from rlreason import faults
from rlreason.faults import InjectedError
from rlreason.trainer import train

LAG: dict[str, Any] = {"rollout": {"lag": 1}}
RAY: dict[str, Any] = {"cluster": {"backend": "ray"}}
STEPS = 4
PHASES = ("rollout", "score", "journal", "learn", "publish", "record", "checkpoint")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Plans one fault; ``RLREASON_FAULT`` is read once in the life of a process."""

    def plan(phase: str, step: int) -> None:
        found = faults._Plan(phase, step, "raise")
        monkeypatch.setattr(faults, "_plan", lambda: found)

    yield plan
    monkeypatch.undo()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[ChainWorld, Path]:
    folder = tmp_path_factory.mktemp("straight")
    world, run = resumed(folder, STEPS, **LAG)
    train(run)
    return world, folder


@pytest.mark.parametrize("backend", ["inline", "ray"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_ends_in_any_phase_of_any_step_continues_to_the_same_end(
    straight: tuple[ChainWorld, Path],
    phase: str,
    backend: str,
    tmp_path: Path,
    planned: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sections = LAG | {"cluster": {"backend": backend}}
    steps = {"inline": (2,), "ray": range(STEPS)}[backend]
    for step in (2, 4) if phase == "checkpoint" else steps:
        folder = tmp_path / str(step)
        planned(phase, step)
        with pytest.raises(InjectedError):
            train(resumed(folder, STEPS, **sections)[1])
        monkeypatch.setattr(faults, "_plan", lambda: None)
        world, run = resumed(folder, STEPS, **sections)
        train(run)
        assert world.digests() == straight[0].digests(), f"{phase} of step {step}"
        assert world.state_dict() == straight[0].state_dict()
        kept = ("step", "policy_version", "rollout_tokens_so_far", "pools", "reward_mean")
        assert [[row[name] for name in kept] for row in rows(folder)] == [
            [row[name] for name in kept] for row in rows(straight[1])
        ]


def test_a_step_that_a_checkpoint_needs_is_in_the_journal_before_it(tmp_path: Path) -> None:
    _, run = resumed(tmp_path, STEPS, **LAG, **RAY)
    journaled: dict[int, int | None] = {}
    plain = run.checkpointer.save

    def save(version: int, **given: Any) -> bool:
        journaled[version] = run.journal.last_step()
        return plain(version, **given)

    run.checkpointer.save = save  # type: ignore[method-assign]
    train(run)
    assert journaled == {2: 2, 4: 3}


def test_a_damaged_entry_of_the_checkpoints_step_is_said_and_what_follows_from_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(resumed(tmp_path, 4, **LAG)[1])
    entry = tmp_path / "steps" / "000002" / "rollouts.parquet"
    entry.write_bytes(entry.read_bytes()[:-9])
    (tmp_path / "checkpoints" / "000004" / "MANIFEST.json").unlink()
    with caplog.at_level(logging.WARNING):
        world, run = resumed(tmp_path, 4, **LAG)
        train(run)
    assert "step 2 is not in the journal, so it is sampled from version 2" in caplog.text
    assert world.sampled_from == {2: 2, 3: 2}
    assert [row["policy_version"] for row in rows(tmp_path)] == [0, 0, 2, 2]


@pytest.mark.parametrize("backend", ["inline", "ray"])
def test_refill_baselines_and_penalty_go_ahead_too(backend: str, tmp_path: Path) -> None:
    sections: dict[str, Any] = {
        "rollout": {"lag": 1, "problems_per_step": 4, "refill": {"max_extra": 2.0}},
        "algorithm": {"advantage": "remax", "kl": 0.1, "kl_in": "reward_sum"},
        "cluster": {"backend": backend},
    }
    straight, run = resumed(tmp_path / "straight", 4, **sections)
    train(run)
    assert any("refill" in call for call in straight.calls)
    assert straight.sampled_from == {0: 0, 1: 0, 2: 1, 3: 2}
    train(resumed(tmp_path / "again", 2, **sections)[1])
    (tmp_path / "again" / "checkpoints" / "000002" / "MANIFEST.json").unlink()
    world, run = resumed(tmp_path / "again", 4, **sections)
    train(run)
    assert (world.digests(), world.state_dict()) == (straight.digests(), straight.state_dict())
