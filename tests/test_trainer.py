"""The loop with fakes: the order of its phases, what it refuses, and how it resumes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_world import World, make_run

from rlreason.errors import CheckpointError, StalePolicyError, TrainingStopped
from rlreason.journal import Journal
from rlreason.trainer import train
from rlreason.types import RolloutGroup, Score


def num_rows(folder: Path) -> int:
    return len((folder / "metrics.jsonl").read_text().splitlines())


def test_the_phases_come_in_order_and_each_step_samples_what_the_last_one_published(
    tmp_path: Path,
) -> None:
    world = World()
    train(make_run(world, tmp_path, steps=2))
    assert world.calls == [
        "draw 0",
        "generate 0 from 0",
        "score",
        "observe 2",
        "learn 0",
        "publish 1",
        "draw 1",
        "generate 1 from 1",
        "score",
        "observe 2",
        "learn 1",
        "publish 2",
        "save",
    ]
    assert num_rows(tmp_path) == 2


def test_a_step_without_signal_is_observed_and_recorded_but_not_learned(tmp_path: Path) -> None:
    world = World(values=(1.0, 1.0))
    train(make_run(world, tmp_path, steps=1))
    assert "observe 2" in world.calls
    assert "learn 0" not in world.calls
    assert num_rows(tmp_path) == 1


def test_a_sample_of_another_version_is_refused_before_it_is_learned(tmp_path: Path) -> None:
    world = World()
    world.publish = lambda version: None  # type: ignore[method-assign]
    with pytest.raises(StalePolicyError, match=r"step 1 samples from policy version 1.*\[0\]"):
        train(make_run(world, tmp_path))
    assert "learn 1" not in world.calls
    assert Journal(tmp_path / "steps").last_step() == 0


def test_a_journaled_step_is_learned_again_but_not_sampled_again(tmp_path: Path) -> None:
    first = World()
    first.publish = _fail_at(first, version=2)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        train(make_run(first, tmp_path))
    again = World()
    train(make_run(again, tmp_path))
    generated = [call for call in again.calls if call.startswith("generate")]
    assert generated == ["generate 2 from 2"]
    learned = [call for call in again.calls if call.startswith("learn")]
    assert learned == ["learn 0", "learn 1", "learn 2"]
    assert (again.learned, again.observed) == (3, 6)
    assert num_rows(tmp_path) == 3
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    pools = [json.loads(line)["pools"]["pool"] for line in lines]
    assert [pool["draws_so_far"] for pool in pools] == [2, 4, 6]
    assert [pool["tokens_so_far"] for pool in pools] == [8, 16, 24]


def _fail_at(world: World, version: int) -> Any:
    def publish(*, version_: int = version, **given: int) -> None:
        if given["version"] == version_:
            raise RuntimeError("killed")
        world.policy_version = given["version"]

    return publish


def test_a_journal_of_other_problems_is_refused(tmp_path: Path) -> None:
    train(make_run(World(), tmp_path, steps=1))
    world = World()
    world.shift_problems = 1
    with pytest.raises(CheckpointError, match="journal of step 0"):
        train(make_run(world, tmp_path, steps=1))


def test_three_skipped_updates_in_a_row_stop_the_run(tmp_path: Path) -> None:
    world = World()
    world.skip = True
    with pytest.raises(TrainingStopped, match="3 updates in a row"):
        train(make_run(world, tmp_path, steps=9))
    assert num_rows(tmp_path) == 3


def test_checkpoints_come_at_the_interval_and_at_the_end(tmp_path: Path) -> None:
    train(make_run(World(), tmp_path, steps=5))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["000004", "000005"]


def test_infra_faults_are_masked_from_the_group(tmp_path: Path) -> None:
    world = World()
    scores = (Score(value=0.0, outcome="infra"), Score(value=1.0))

    def score(groups: Iterator[RolloutGroup]) -> Any:
        return sorted(((group, scores) for group in groups), key=lambda pair: pair[0].slot)

    world.score = score  # type: ignore[method-assign, assignment]
    train(make_run(world, tmp_path, steps=1))
    assert "learn 0" not in world.calls  # one known reward has nothing to be compared with
