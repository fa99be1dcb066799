"""Dynamic sampling: when a step draws again, what it keeps, and that a kill changes none of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_world import World, make_run, make_score
from hypothesis import given
from hypothesis import strategies as st

from rlreason.config import RolloutSection
from rlreason.errors import CheckpointError, DataError
from rlreason.journal import Journal
from rlreason.refill import keep, max_extra, next_count, teaches
from rlreason.trainer import train

REFILL = {"rollout": {"problems_per_step": 4, "refill": {"max_extra": 2.0}}}


def section(wanted: int, extra: float | None) -> RolloutSection:
    refill = None if extra is None else {"max_extra": extra}
    return RolloutSection.model_validate({"problems_per_step": wanted, "refill": refill})


def count(kept: int, seen: int, wanted: int = 8, extra: float | None = 2.0) -> int:
    return next_count(kept=kept, seen=seen, rollout=section(wanted, extra))


def test_the_next_draw_follows_the_share_that_taught() -> None:
    # Wanted 8, so at most 8 + 16 in all. Of 8 problems 4 taught: the 4 missing ones need 8 draws.
    # 3 of 8: ceil(5 * 8 / 3) = 14, at most a step's 8. 7 of 8: ceil(1 * 8 / 7) = 2.
    assert [count(0, 0), count(4, 8), count(3, 8), count(7, 8), count(8, 8)] == [8, 8, 8, 2, 0]
    assert count(6, 20) == 4  # 7 expected, 4 left
    assert count(0, 16) == 8
    assert count(0, 24) == 0


def test_without_refill_a_step_is_one_draw() -> None:
    assert [count(0, 0, extra=None), count(0, 8, extra=None)] == [8, 0]


@given(st.integers(1, 20), st.floats(0.05, 4), st.lists(st.booleans(), min_size=200, max_size=200))
def test_a_step_ends_full_or_at_its_limit_and_never_beyond(
    wanted: int, extra: float, useful: list[bool]
) -> None:
    rollout = section(wanted, max(extra, 1 / wanted))
    seen = 0
    while more := next_count(kept=sum(useful[:seen]), seen=seen, rollout=rollout):
        seen += more
    kept = keep(list(range(seen)), useful[:seen], rollout)
    assert seen <= wanted + max_extra(rollout)
    assert kept == [slot for slot in range(seen) if useful[slot]][:wanted]
    assert len(kept) == wanted or seen == wanted + max_extra(rollout)


def test_a_group_teaches_when_its_known_scores_differ() -> None:
    one, zero, hidden = make_score(1.0), make_score(0.0), make_score(9.0, outcome="infra")
    assert teaches([one, zero], None)
    assert not teaches([one, one, hidden], None)
    assert not teaches([hidden, one], None)


def test_a_part_decides_where_one_is_named() -> None:
    # Both wrong, told apart by a length penalty only: DAPO would not learn from them.
    short, long = make_score(-0.1, correct=0.0), make_score(-0.9, correct=0.0)
    right, cut = make_score(1.0, correct=1.0), make_score(-1.0, outcome="over_limit")
    assert teaches([short, long], None)
    assert not teaches([short, long], "correct")
    assert teaches([short, right], "correct")
    assert teaches([cut, right], "correct")
    assert not teaches([cut, cut], "correct")
    with pytest.raises(DataError, match=r"'corect'.*\['correct'\]"):
        teaches([short, right], "corect")


def useless_world() -> World:
    """The first draw teaches in one of four, the second in all, so a step is 4 + 4 problems."""
    world = World()
    world.useless = {f"{step}-{slot}" for step in range(3) for slot in (0, 1, 3)}
    return world


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_useless_groups_are_replaced_observed_journaled_and_not_learned(tmp_path: Path) -> None:
    world = useless_world()
    train(make_run(world, tmp_path, steps=1, **REFILL))
    assert world.calls == [
        "draw 0",
        "generate 0 from 0",
        "score",
        "draw 0 refill 1: 4",
        "generate 0 from 0",
        "score",
        "observe 8",
        "learn 0",
        "publish 1",
        "save",
    ]
    assert sorted(world.slots) == list(range(8))  # slots seed the sampling: none comes twice
    entry = Journal(tmp_path / "steps").read(0)
    assert entry is not None
    assert [group.group.slot for group in entry.scored] == list(range(8))
    # Kept: 0-2 and the first three of the second draw, 2 completions of 2 tokens each.
    [batch] = world.batches
    assert (len(batch.sequences), batch.num_loss_tokens) == (8, 16)
    [row] = lines(tmp_path)
    assert row["refill"] == {"rounds": 2, "extra_rollouts": 8, "kept_frac": 0.5, "missing": 0}
    assert (row["num_rollouts"], row["signal_frac"]) == (16, 5 / 8)


def test_a_step_at_its_limit_learns_from_what_it_has_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    world = useless_world()
    world.useless |= {f"0-r1-{slot}" for slot in range(4)}
    world.useless |= {f"0-r2-{slot}" for slot in range(4)}
    messages: list[str] = []
    world.message = messages.append  # type: ignore[method-assign]
    train(make_run(world, tmp_path, steps=1, **REFILL))
    [batch] = world.batches
    assert (len(batch.sequences), batch.num_loss_tokens) == (2, 4)
    [row] = lines(tmp_path)
    assert row["refill"]["missing"] == 3
    assert row["refill"]["extra_rollouts"] == 16
    assert any("lacks 3 groups that teach after 16 extra" in text for text in messages)


def test_nothing_is_learned_where_no_draw_teaches(tmp_path: Path) -> None:
    world = World(values=(1.0, 1.0))
    train(make_run(world, tmp_path, steps=1, **REFILL))
    assert world.batches == []
    assert "observe 12" in world.calls
    assert lines(tmp_path)[0]["refill"]["missing"] == 4


def test_a_killed_step_is_replayed_with_all_its_draws(tmp_path: Path) -> None:
    straight = useless_world()
    train(make_run(straight, tmp_path / "straight", **REFILL))
    killed = useless_world()
    killed.update = _killed  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        train(make_run(killed, tmp_path / "again", **REFILL))
    again = useless_world()
    train(make_run(again, tmp_path / "again", **REFILL))
    assert again.calls[:4] == ["draw 0", "draw 0 refill 1: 4", "observe 8", "learn 0"]
    assert again.state_dict() == straight.state_dict() == {"observed": 24, "cursor": 24}
    assert again.batches == straight.batches
    rows = [lines(tmp_path / name) for name in ("straight", "again")]
    assert [row["refill"] for row in rows[0]] == [row["refill"] for row in rows[1]]


def _killed(*args: Any, **options: Any) -> Any:
    raise RuntimeError("killed")


def test_a_journal_of_more_draws_than_this_run_makes_is_refused(tmp_path: Path) -> None:
    train(make_run(useless_world(), tmp_path, steps=1, **REFILL))
    with pytest.raises(CheckpointError, match="holds 8 groups, but this run needs 4"):
        train(make_run(useless_world(), tmp_path, steps=1, rollout={"problems_per_step": 4}))


def test_a_limit_below_one_problem_is_refused() -> None:
    with pytest.raises(ValueError, match=r"refill.max_extra = 0.1 .* less than one problem"):
        section(4, 0.1)
