"""Draws and tokens per pool, counted by hand, and to the same numbers after a kill."""

import json
import random
from collections import defaultdict
from pathlib import Path

import pytest
from step_records import scored_group

from rlreason.checkpoint import Checkpoint
from rlreason.draw_history import DrawHistory, PoolUse
from rlreason.errors import CheckpointError
from rlreason.types import ScoredGroup

SIZES = {"easy": 4, "hard": 2}


def drawn(*problems: str, tokens: int = 3) -> list[ScoredGroup]:
    """One group of two completions for each ``pool:number``."""
    pairs = [name.split(":") for name in problems]
    return [
        scored_group(pool, int(number), [0.0, 1.0], lengths=[tokens, tokens])
        for pool, number in pairs
    ]


def test_reuse_and_coverage_are_counted_over_the_whole_run() -> None:
    history = DrawHistory(SIZES)
    first = history.observe(drawn("easy:0", "easy:1", "hard:0")).pools
    assert first["easy"] == PoolUse(
        reuse_mean=0.0, distinct_frac=0.5, draws_so_far=2, tokens_so_far=12
    )
    # problem 0 was drawn once before, problem 2 never: (1 + 0) / 2
    second = history.observe(drawn("easy:0", "easy:2", tokens=5)).pools
    assert second["easy"] == PoolUse(
        reuse_mean=0.5, distinct_frac=0.75, draws_so_far=4, tokens_so_far=32
    )
    assert second["hard"] == PoolUse(
        reuse_mean=None, distinct_frac=0.5, draws_so_far=1, tokens_so_far=6
    )


def test_the_second_draw_in_one_step_is_a_reuse() -> None:
    # drawn before: 0 times, once, twice -> mean 1
    use = DrawHistory(SIZES).observe(drawn("hard:1", "hard:1", "hard:1")).pools
    assert (use["hard"].reuse_mean, use["hard"].distinct_frac) == (1.0, 0.5)


def test_equal_ids_in_two_pools_are_two_problems() -> None:
    history = DrawHistory(SIZES)
    history.observe(drawn("easy:0"))
    assert history.observe(drawn("hard:0")).pools["hard"].reuse_mean == 0.0


def test_it_agrees_with_a_list_of_all_draws() -> None:
    chance = random.Random(0)
    history, seen = DrawHistory({"easy": 9, "hard": 3}), defaultdict(list)
    for _ in range(30):
        names = [
            f"{p}:{chance.randrange(n)}" for p, n in chance.choices([("easy", 9), ("hard", 3)], k=5)
        ]
        expected = defaultdict(list)
        for name in names:
            pool = name.split(":")[0]
            expected[pool].append(seen[pool].count(name))
            seen[pool].append(name)
        use = history.observe(drawn(*names)).pools
        for pool, before in expected.items():
            assert use[pool].reuse_mean == pytest.approx(sum(before) / len(before))
            assert use[pool].distinct_frac == len(set(seen[pool])) / {"easy": 9, "hard": 3}[pool]
            assert use[pool].draws_so_far == len(seen[pool])


def test_a_restored_history_counts_on_as_one_that_was_never_saved() -> None:
    straight, steps = DrawHistory(SIZES), [drawn("easy:0", "hard:1"), drawn("easy:0", "easy:3")]
    straight.observe(steps[0])
    state = json.loads(json.dumps(straight.state_dict()))
    restored = DrawHistory(SIZES)
    restored.load_state_dict(state)
    assert restored.observe(steps[1]) == straight.observe(steps[1])
    assert restored.state_dict() == straight.state_dict()


def test_a_pool_that_is_new_has_no_history_and_one_that_is_gone_loses_it() -> None:
    before = DrawHistory(SIZES)
    before.observe(drawn("easy:0", "hard:0"))
    after = DrawHistory({"easy": 4, "new": 7})
    after.load_state_dict(before.state_dict())
    assert set(after.state_dict()["pools"]) == {"easy", "new"}
    use = after.observe(drawn("easy:0", "new:0"))
    assert (use.pools["easy"].reuse_mean, use.pools["new"].reuse_mean) == (1.0, 0.0)
    assert use.tokens_so_far == 24  # four groups of two completions, one of them of "hard"


def test_a_checkpoint_without_it_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = Checkpoint(version=3, folder=tmp_path, state={"pools": {}}, digests={})
    assert checkpoint.part("pools") == {}
    with pytest.raises(CheckpointError, match=r"holds no state of 'draws'.*--fresh"):
        checkpoint.part("draws")
