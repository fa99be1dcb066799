"""Spreading sequences over ranks: every one once, equal counts, even cost."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.batching import plan_microbatches
from rlreason.algorithms.spreading import empty_microbatch, plan_for_ranks, row_cost, spread
from rlreason.types import TrainSequence


def sequence(length: int, first: int = 1, group: int = -1) -> TrainSequence:
    return TrainSequence(
        token_ids=(first, *range(2, length + 1)),
        loss_mask=(False, *(True,) * (length - 1)),
        advantages=(0.5,) * length,
        rollout_logprobs=None,
        group=group,
    )


def loads(shares: list, width: int) -> list[float]:
    return [sum(row_cost(len(row[0].token_ids), width) for row in share) for share in shares]


@given(
    lengths=st.lists(st.integers(2, 60), min_size=1, max_size=25),
    ranks=st.integers(1, 5),
    budget=st.integers(10, 200),
)
def test_every_sequence_once_and_as_many_microbatches_on_every_rank(
    lengths: list[int], ranks: int, budget: int
) -> None:
    sequences = [sequence(length, first=index) for index, length in enumerate(lengths)]
    plans = plan_for_ranks(sequences, ranks=ranks, budget=budget, max_shared_row=0, width=8)
    assert len({len(plan) for plan in plans}) == 1
    computed = Counter(one for plan in plans for rows in plan for row in rows for one in row)
    assert computed == Counter(sequences)
    for plan in plans:
        for rows in plan:
            longest = max((len(row[0].token_ids) for row in rows), default=0)
            assert len(rows) <= 1 or len(rows) * longest <= budget


def test_one_rank_plans_as_ever() -> None:
    sequences = [sequence(length, first=7) for length in (5, 9, 4, 30)]
    [plan] = plan_for_ranks(sequences, ranks=1, budget=20, max_shared_row=64, width=8)
    assert plan == plan_microbatches(sequences, budget=20, max_shared_row=64)


def test_cost_is_quadratic_so_one_long_row_outweighs_more_tokens_in_short_ones() -> None:
    # Width 1: a row of 60 costs 60 x (1 + 10) = 660, a row of 6 costs 6 x 2 = 12. Six short rows
    # hold 36 tokens. By tokens alone the long row's rank would still get none of them, so there
    # are 12 short ones: 72 tokens, more than 60, but 144 in cost.
    rows = [(sequence(60),), *((sequence(6, first=9 + i),) for i in range(12))]
    shares = spread([[row] for row in rows], ranks=2, width=1)
    assert [len(share) for share in shares] == [1, 12]


def test_the_cost_of_a_row_by_hand() -> None:
    # 12 tokens x (1 + 12 / (6 x 2)): at this length attention costs as much as the rest.
    assert row_cost(12, width=2) == 24


def test_the_dearest_is_dealt_first() -> None:
    # In the given order the two short ones would part, and one rank would have 9 of the 12 tokens.
    rows = [(sequence(length, first=index),) for index, length in enumerate((3, 3, 6))]
    shares = spread([[row] for row in rows], ranks=2, width=10**6)
    assert [[len(row[0].token_ids) for row in share] for share in shares] == [[6], [3, 3]]


def test_the_dearest_share_is_within_a_third_of_the_even_one() -> None:
    lengths = [50, 3, 20, 20, 41, 8, 8, 30, 12, 25, 33, 6]
    rows = [(sequence(length, first=index),) for index, length in enumerate(lengths)]
    got = loads(spread([[row] for row in rows], ranks=3, width=64), 64)
    assert max(got) <= 4 / 3 * sum(got) / 3


def test_more_ranks_than_sequences_leaves_empty_microbatches() -> None:
    plans = plan_for_ranks([sequence(5)], ranks=3, budget=99, max_shared_row=0, width=8)
    assert [[len(rows) for rows in plan] for plan in plans] == [[1], [0], [0]]


@pytest.mark.parametrize("ranks", [2, 4])
def test_equal_rows_are_dealt_evenly(ranks: int) -> None:
    rows = [(sequence(9, first=index),) for index in range(8)]
    assert [len(share) for share in spread([[row] for row in rows], ranks=ranks, width=8)] == [
        8 // ranks
    ] * ranks


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    ranks=st.integers(1, 4),
    shared=st.sampled_from([0, 40]),
)
def test_a_whole_group_is_on_one_rank(sizes: list[int], ranks: int, shared: int) -> None:
    # Every group has the same prompt, as when a problem is drawn twice.
    sequences = [
        sequence(4 + index, group=group)
        for group, size in enumerate(sizes)
        for index in range(size)
    ]
    plans = plan_for_ranks(
        sequences, ranks=ranks, budget=30, max_shared_row=shared, width=8, whole_groups=True
    )
    held = [{one.group for rows in plan for row in rows for one in row} for plan in plans]
    assert sum(map(len, held)) == len(sizes)
    assert len({len(plan) for plan in plans}) == 1
    computed = Counter(one for plan in plans for rows in plan for row in rows for one in row)
    assert computed == Counter(sequences)


def test_whole_groups_are_dealt_one_by_one_and_rows_where_no_group_must_be_whole() -> None:
    sequences = [sequence(5, first=first, group=group) for group in (0, 1) for first in (7, 8)]
    for whole, expected in ((True, [[0, 0], [1, 1]]), (None, [[0, 1], [0, 1]])):
        options = {} if whole is None else {"whole_groups": whole}
        plans = plan_for_ranks(sequences, ranks=2, budget=99, max_shared_row=0, width=8, **options)
        assert [[row[0].group for rows in plan for row in rows] for plan in plans] == expected


def test_an_empty_microbatch_is_two_tokens_that_nobody_counts() -> None:
    batch = empty_microbatch(torch.device("cpu"))
    assert batch.input_ids.tolist() == [[0, 0]]
    assert (batch.predicts.tolist(), batch.targets.tolist()) == ([0], [0])
    assert batch.advantages.tolist() == [0.0]
    assert batch.rollout_logprobs is None
    assert batch.attention_mask is None
    assert batch.num_tokens == 0
    assert empty_microbatch(torch.device("meta")).input_ids.device.type == "meta"
