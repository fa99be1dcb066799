"""ReMax in the loop: one greedy completion per problem is scored, journaled and compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_world import World, make_run, make_score

from rlreason.journal import Journal
from rlreason.trainer import train
from rlreason.types import RolloutGroup, Score, ScoredGroup

REMAX: dict[str, Any] = {"advantage": "remax"}


def journaled(folder: Path) -> list[ScoredGroup]:
    entry = Journal(folder / "steps").read(0)
    assert entry is not None
    return list(entry.scored)


def row(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.jsonl").read_text().splitlines()[0]))


def test_samples_are_compared_with_the_greedy_completion_of_their_problem(tmp_path: Path) -> None:
    world = World(values=(0.0, 1.0))  # the greedy one scores .25
    train(make_run(world, tmp_path, steps=1, algorithm=REMAX))
    for group in journaled(tmp_path):
        assert group.advantages == (-0.25, 0.75)
        assert group.baseline is not None
        assert group.baseline.score == make_score(0.25)
        assert len(group.group.rollouts) == 2
    # The two greedy completions of two tokens are a cost of their own and no part of the sample.
    metrics = row(tmp_path)
    assert (metrics["greedy_tokens"], metrics["rollout_tokens"]) == (4, 8)
    assert (metrics["num_rollouts"], metrics["reward_mean"]) == (4, 0.5)
    assert sum(len(batch.sequences) for batch in world.batches) == 4
    assert "observe 2" in world.calls


def test_a_replayed_step_samples_no_greedy_completion_and_learns_the_same(tmp_path: Path) -> None:
    first, again = World(), World()
    train(make_run(first, tmp_path, steps=1, algorithm=REMAX))
    train(make_run(again, tmp_path, steps=1, algorithm=REMAX))
    assert not [call for call in again.calls if call.startswith("generate")]
    assert again.batches == first.batches
    assert row(tmp_path)["greedy_tokens"] == 4


def test_a_fault_that_hides_the_baseline_leaves_nothing_to_compare_with(tmp_path: Path) -> None:
    world = World()
    plain = world.scores_of

    def scores_of(group: RolloutGroup) -> tuple[Score, ...]:
        hidden = group.greedy and group.slot == 1
        return (make_score(0.0, outcome="infra"),) if hidden else plain(group)

    world.scores_of = scores_of  # type: ignore[method-assign]
    train(make_run(world, tmp_path, steps=1, algorithm=REMAX))
    assert [group.advantages for group in journaled(tmp_path)] == [(-0.25, 0.75), (0.0, 0.0)]


@pytest.mark.parametrize(("value", "rounds"), [(0.25, 3), (1.0, 1)])
def test_refill_counts_a_group_that_differs_from_its_baseline_as_teaching(
    value: float, rounds: int, tmp_path: Path
) -> None:
    world = World(values=(value, value))
    rollout = {"problems_per_step": 2, "refill": {"max_extra": 2.0}}
    train(make_run(world, tmp_path, steps=1, algorithm=REMAX, rollout=rollout))
    assert row(tmp_path)["refill"]["rounds"] == rounds


def test_no_other_advantage_asks_for_greedy_completions(tmp_path: Path) -> None:
    train(make_run(World(), tmp_path, steps=1))
    assert [group.baseline for group in journaled(tmp_path)] == [None, None]
    assert row(tmp_path)["greedy_tokens"] == 0
