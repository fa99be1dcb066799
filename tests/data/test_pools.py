"""The held-out split and the draws: laws that hold for any pool, and exact continuation."""

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason.data.pools import Pools, split_held_out, split_key
from rlreason.errors import CheckpointError, DataError
from rlreason.types import Problem

FIXED = settings(deadline=None, derandomize=True, max_examples=60)


def problem(name: str, pool: str = "add", key: str | None = None) -> Problem:
    metadata = {} if key is None else {"split_key": key}
    return Problem(id=name, pool=pool, prompt=f"What is {name}?", answer="1", metadata=metadata)


def numbered(count: int, pool: str = "add") -> list[Problem]:
    return [problem(str(i), pool) for i in range(count)]


def pools_of(sizes: Mapping[str, int], *, seed: int = 0, replacement: bool = False) -> Pools:
    train = {name: numbered(size, name) for name, size in sizes.items()}
    return Pools(train, seed=seed, replacement=replacement)


# --- the split --------------------------------------------------------------------------------

keyed = st.lists(st.integers(0, 12), min_size=2, max_size=60)


@FIXED
@given(keys=keyed, held_out=st.integers(0, 20), seed=st.integers(0, 1000))
def test_a_split_is_disjoint_whole_and_independent_of_the_order_of_rows(
    keys: list[int], held_out: int, seed: int
) -> None:
    problems = [problem(str(i), key=f"k{key}") for i, key in enumerate(keys)]
    shuffled = random.Random(seed).sample(problems, len(problems))
    try:
        train, kept = split_held_out(problems, held_out)
    except DataError:
        with pytest.raises(DataError):
            split_held_out(shuffled, held_out)
        return
    assert (train, kept) == split_held_out(shuffled, held_out)
    assert sorted(p.id for p in [*train, *kept]) == sorted(p.id for p in problems)
    assert not {split_key(p) for p in train} & {split_key(p) for p in kept}
    assert train
    assert len(kept) >= held_out


@FIXED
@given(keys=keyed, held_out=st.integers(1, 20))
def test_keys_are_held_out_from_the_lowest_hash_and_not_one_more_than_needed(
    keys: list[int], held_out: int
) -> None:
    problems = [problem(str(i), key=f"k{key}") for i, key in enumerate(keys)]

    def fraction(p: Problem) -> float:  # the hash that the shipped model's training data used
        key = p.metadata["split_key"]
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64

    try:
        train, kept = split_held_out(problems, held_out)
    except DataError:
        return
    highest = max(fraction(p) for p in kept)
    assert highest < min(fraction(p) for p in train)
    assert len([p for p in kept if fraction(p) < highest]) < held_out


def test_a_row_more_moves_no_other_problem_to_the_training_side_of_a_lower_key() -> None:
    problems = numbered(300)
    _, before = split_held_out(problems, 50)
    _, after = split_held_out([*problems, problem("new")], 50)
    assert len({p.id for p in before} ^ {p.id for p in after}) <= 2


def test_copies_of_a_prompt_that_differ_in_white_space_stay_together() -> None:
    copies = [
        Problem(id=str(i), pool="p", prompt=prompt)
        for i, prompt in enumerate(["2 + 2", " 2  +\n2 ", "2 + 3"])
    ]
    first, second, third = map(split_key, copies)
    assert first == second != third


def test_messages_have_a_split_key_too() -> None:
    turns = [({"role": "user", "content": text},) for text in ("a", "b")]
    first, second = (Problem(id="1", pool="p", prompt=turn) for turn in turns)  # type: ignore[arg-type]
    assert split_key(first) != split_key(second)


@pytest.mark.parametrize(("count", "held_out"), [(5, 5), (5, 6), (0, 0)])
def test_a_split_that_leaves_nothing_to_train_on_is_refused(count: int, held_out: int) -> None:
    with pytest.raises(DataError, match=f"held_out = {held_out} leaves nothing to train on"):
        split_held_out(numbered(count), held_out)


def test_one_shared_key_cannot_be_split() -> None:
    problems = [problem(str(i), key="same") for i in range(9)]
    with pytest.raises(DataError, match=r"pool 'add'.*9 problems under 1 split keys"):
        split_held_out(problems, 2)


# --- draws ------------------------------------------------------------------------------------

histories = st.lists(st.integers(0, 9), min_size=1, max_size=8)


@FIXED
@given(
    counts=histories,
    stop=st.integers(0, 8),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    replacement=st.booleans(),
)
def test_a_resumed_run_draws_what_an_uninterrupted_one_draws(
    counts: list[int], stop: int, sizes: list[int], seed: int, replacement: bool
) -> None:
    named = {f"p{i}": size for i, size in enumerate(sizes)}
    weights = dict.fromkeys(named, 1 / len(named))
    whole, first, second = (pools_of(named, seed=seed, replacement=replacement) for _ in range(3))
    expected = [whole.draw(step, count, weights) for step, count in enumerate(counts)]
    drawn = [first.draw(step, count, weights) for step, count in enumerate(counts[:stop])]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    rest = enumerate(counts[stop:], start=stop)
    drawn += [second.draw(step, count, weights) for step, count in rest]
    assert drawn == expected
    assert second.state_dict() == whole.state_dict()


@FIXED
@given(size=st.integers(1, 12), passes=st.integers(1, 4), count=st.integers(1, 5))
def test_without_replacement_every_problem_comes_once_per_pass(
    size: int, passes: int, count: int
) -> None:
    pools = pools_of({"a": size})
    drawn: list[str] = []
    step = 0
    while len(drawn) < size * passes:
        drawn += [p.id for p in pools.draw(step, count, {"a": 1.0})]
        step += 1
    for start in range(0, size * passes, size):
        assert sorted(drawn[start : start + size], key=int) == [str(i) for i in range(size)]


def test_each_pass_has_an_order_of_its_own_and_so_has_each_pool_and_seed() -> None:
    def order(seed: int, pool: str, epoch: int) -> list[str]:
        pools = pools_of({pool: 30}, seed=seed)
        return [p.id for p in pools.draw(0, 60, {pool: 1.0})][epoch * 30 : epoch * 30 + 30]

    base = order(0, "a", 0)
    assert base == order(0, "a", 0)
    others = [order(0, "a", 1), order(1, "a", 0), order(0, "b", 0), [str(i) for i in range(30)]]
    assert all(base != other for other in others)


@pytest.mark.parametrize("replacement", [True, False])
def test_slots_follow_the_weights(replacement: bool) -> None:
    weights = {"a": 0.6, "never": 0.0, "b": 0.3, "c": 0.1}
    pools = pools_of(dict.fromkeys(weights, 50), replacement=replacement)
    drawn = Counter(p.pool for step in range(200) for p in pools.draw(step, 50, weights))
    assert drawn["never"] == 0
    for name, weight in weights.items():
        deviation = math.sqrt(10_000 * weight * (1 - weight))
        assert abs(drawn[name] - 10_000 * weight) <= 4 * deviation
    assert pools.num_drawn == {name: drawn[name] for name in weights}


def test_slots_of_one_step_are_independent_of_each_other() -> None:
    # Stratified or without-replacement choices would make the count of a pool too regular.
    pools = pools_of({"a": 10, "b": 10})
    weights = {"a": 0.5, "b": 0.5}
    counts = [sum(p.pool == "a" for p in pools.draw(s, 40, weights)) for s in range(500)]
    mean = sum(counts) / 500
    assert 7 < sum((count - mean) ** 2 for count in counts) / 499 < 13  # binomial: 10


def test_with_replacement_problems_are_uniform_and_repeat() -> None:
    pools = pools_of({"a": 10}, replacement=True)
    drawn = Counter(p.id for step in range(100) for p in pools.draw(step, 100, {"a": 1.0}))
    assert all(abs(count - 1000) <= 4 * math.sqrt(900) for count in drawn.values())
    assert len(drawn) == 10
    single = [p.id for p in pools_of({"a": 10}, replacement=True).draw(0, 10, {"a": 1.0})]
    assert len(set(single)) < 10


def test_steps_and_seeds_draw_differently() -> None:
    weights = {"a": 0.5, "b": 0.5}

    def pattern(seed: int, step: int) -> list[str]:
        return [p.pool for p in pools_of({"a": 9, "b": 9}, seed=seed).draw(step, 64, weights)]

    assert pattern(0, 0) == pattern(0, 0)
    assert len({tuple(pattern(seed, step)) for seed in range(3) for step in range(3)}) == 9


def test_the_draws_of_one_step_differ_and_the_first_is_that_of_a_step_without_refill() -> None:
    weights = {"a": 0.5, "b": 0.5}
    pools = pools_of({"a": 9, "b": 9}, replacement=True)
    rounds = [[p.key for p in pools.draw(3, 64, weights, refill=n)] for n in range(3)]
    assert len({tuple(keys) for keys in rounds}) == 3
    plain = pools_of({"a": 9, "b": 9}, replacement=True)
    assert [p.key for p in plain.draw(3, 64, weights)] == rounds[0]
    assert sum(pools.num_drawn.values()) == 3 * 64
    # Not the draws of the steps after, either.
    after = [[p.key for p in plain.draw(step, 64, weights)] for step in (4, 5, 31, 32)]
    assert not {tuple(keys) for keys in after} & {tuple(keys) for keys in rounds}


def test_the_order_of_the_weights_changes_no_draw() -> None:
    drawn = [
        pools_of({"a": 9, "b": 9}).draw(3, 20, weights)
        for weights in ({"a": 0.3, "b": 0.7}, {"b": 0.7, "a": 0.3})
    ]
    assert drawn[0] == drawn[1]


def test_draws_are_what_they_were_when_this_test_was_written() -> None:
    # Pinned: if this changes, every run that is resumed after an upgrade becomes another run.
    pools = pools_of({"a": 5, "b": 3}, seed=7)
    drawn = [p.key for p in pools.draw(0, 8, {"a": 0.5, "b": 0.5})]
    assert drawn == ["b/1", "b/0", "b/2", "b/2", "b/1", "a/1", "b/0", "a/0"]


@pytest.mark.parametrize(
    "weights", [{"a": 1.0, "c": 0.0}, {"a": 1.0}, {"a": 0.5, "b": 0.5, "c": 0}]
)
def test_weights_over_other_pools_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(KeyError, match="other pools than there are"):
        pools_of({"a": 3, "b": 3}).draw(0, 4, weights)


@pytest.mark.parametrize("pair", [(0.5, 0.49), (1.5, -0.5), (math.nan, 1.0), (0.5, 0.5 + 2e-9)])
def test_weights_that_are_no_distribution_are_refused(pair: tuple[float, float]) -> None:
    pools = pools_of({"a": 3, "b": 3})
    with pytest.raises(ValueError, match="sum to 1"):
        pools.draw(0, 4, dict(zip("ab", pair, strict=True)))
    assert pools.num_drawn == {"a": 0, "b": 0}


def test_reuse_counts_passes() -> None:
    pools = pools_of({"a": 4, "b": 10})
    pools.draw(0, 6, {"a": 1.0, "b": 0.0})
    assert pools.reuse() == {"a": 1.5, "b": 0.0}
    assert pools.state_dict()["pools"]["a"] | {"ids": ""} == {
        "size": 4,
        "ids": "",
        "epoch": 1,
        "position": 2,
    }
    assert pools.sizes == {"a": 4, "b": 10}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (pools_of({"a": 3}), "pool 'b' is gone"),
        (pools_of({"a": 3, "b": 4, "c": 2}), "pool 'c' is new"),
        (pools_of({"a": 3, "b": 5}), "pool 'b' had 4 training problems, has 5"),
        (pools_of({"a": 3, "b": 4}, seed=1), "seed was 0, is 1"),
        (pools_of({"a": 3, "b": 4}, replacement=True), "replacement was False, is True"),
        (
            Pools(
                {"a": numbered(3, "a"), "b": [problem(str(i + 1), "b") for i in range(4)]},
                seed=0,
                replacement=False,
            ),
            "pool 'b' has other problems, though as many",
        ),
    ],
)
def test_a_state_of_other_pools_is_refused_naming_them(changed: Pools, words: str) -> None:
    saved = pools_of({"a": 3, "b": 4})
    saved.draw(0, 5, {"a": 0.5, "b": 0.5})
    with pytest.raises(CheckpointError, match=words):
        changed.load_state_dict(saved.state_dict())
    assert set(changed.num_drawn.values()) == {0}


def test_a_pool_without_training_problems_is_refused() -> None:
    with pytest.raises(DataError, match=r"\['b'\]"):
        pools_of({"a": 3, "b": 0})
    with pytest.raises(DataError, match="no pool"):
        pools_of({})
