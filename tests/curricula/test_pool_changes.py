"""Continuing with other pools: what is kept, what starts unseen, what is dropped."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from scored_groups import facts, passes
from shipped import CASE_NAMES, CASES, build

from rlreason.data.pools import Pools
from rlreason.errors import CheckpointError
from rlreason.journal import Journal
from rlreason.pool_changes import discard_other_pools, load_adapted
from rlreason.types import Problem

BEFORE, NOW = ("a", "b", "c", "d"), ("e", "c", "b", "a")
FREE = [
    pytest.param(cls, options, id=name)
    for name, (cls, options) in zip(CASE_NAMES, CASES, strict=True)
    if not {"weights", "stages", "ranks", "pass_rates"} & set(options)
]
STEP = [passes("a", 3), passes("b", 8), passes("c", 1), passes("d", 4)]


def seen(cls: Any, options: dict[str, Any], names: tuple[str, ...]) -> Any:
    curriculum = build(cls, options, facts(names))
    for _ in range(4):
        curriculum.observe([group for group in STEP if group.problem.pool in names])
    return curriculum


def saved(state: Any) -> Any:
    return json.loads(json.dumps(state))


@pytest.mark.parametrize(("cls", "options"), FREE)
def test_kept_pools_keep_their_state_and_new_ones_are_unseen(
    cls: Any, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    old = saved(seen(cls, options, BEFORE).state_dict())
    curriculum = build(cls, options, facts(NOW))
    unseen = curriculum.state_dict()["pools"]["e"]
    with caplog.at_level(logging.WARNING):
        load_adapted(curriculum, old, what="curriculum")
    assert "['e'] start unseen, state of ['d'] is dropped" in caplog.text
    pools = saved(curriculum.state_dict())["pools"]
    assert list(pools) == list(NOW)
    assert pools["e"] == saved(unseen)
    assert {name: pools[name] for name in "abc"} == {name: old["pools"][name] for name in "abc"}
    assert sum(curriculum.weights().values()) == pytest.approx(1.0)
    curriculum.observe([passes("e", 4)])


@pytest.mark.parametrize(("cls", "options"), FREE)
def test_the_same_pools_are_continued_as_without_the_flag(
    cls: Any, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    original = seen(cls, options, BEFORE)
    restored = build(cls, options, facts(BEFORE))
    load_adapted(restored, saved(original.state_dict()), what="curriculum")
    assert restored.metrics() == original.metrics()
    assert caplog.text == ""


def test_cursors_of_kept_pools_go_on_and_a_new_pool_starts_its_first_pass() -> None:
    old = pools_of({"a": 4, "b": 3})
    drawn = [problem.id for problem in old.draw(0, 3, {"a": 1.0, "b": 0.0})]
    now = pools_of({"c": 5, "a": 4})
    load_adapted(now, saved(old.state_dict()), what="pools")
    assert now.num_drawn == {"c": 0, "a": 3}
    rest = [problem.id for problem in now.draw(1, 1, {"c": 0.0, "a": 1.0})]
    assert sorted(drawn + rest) == ["0", "1", "2", "3"]


def test_a_kept_pool_with_other_problems_is_still_refused() -> None:
    old = pools_of({"a": 4, "b": 3})
    with pytest.raises(CheckpointError, match="pool 'a' had 4 training problems, has 5"):
        load_adapted(pools_of({"a": 5}), saved(old.state_dict()), what="pools")


def test_a_state_without_pools_cannot_adapt() -> None:
    class Counting:
        def state_dict(self) -> dict[str, Any]:
            return {"step": 3}

        def load_state_dict(self, state: Any) -> None:
            raise AssertionError("nothing may be loaded")

    with pytest.raises(CheckpointError, match=r"curriculum: its state has no mapping 'pools'"):
        load_adapted(Counting(), {"step": 4}, what="curriculum")


def pools_of(sizes: dict[str, int]) -> Pools:
    train = {
        name: [Problem(id=str(i), pool=name, prompt=f"{name}{i}") for i in range(size)]
        for name, size in sizes.items()
    }
    return Pools(train, seed=0, replacement=False)


def journal_of(folder: Path, *draws: tuple[str, ...]) -> Journal:
    journal = Journal(folder)
    for step, names in enumerate(draws):
        weights = {name: 1 / len(names) for name in names}
        journal.commit(step, weights=weights, scored=STEP[:1], policy_version=step)
    return journal


@pytest.mark.parametrize(
    ("draws", "start", "left"),
    [
        (["ab", "ab", "ab"], 1, [0]),  # drawn from the old pools
        (["ab", "ba", "ba"], 1, [0, 1, 2]),  # before the checkpoint nothing is looked at
        (["ab", "ba", "ab", "ba"], 1, [0, 1]),
        (["ab"], 0, []),
        ([], 0, []),
    ],
)
def test_steps_drawn_from_other_pools_are_discarded(
    tmp_path: Path, draws: list[str], start: int, left: list[int]
) -> None:
    journal = journal_of(tmp_path, *(tuple(names) for names in draws))
    discard_other_pools(journal, start, "ba")
    assert [step for step in range(len(draws)) if journal.read(step) is not None] == left
