"""Edges of micro-batches: exact limits, the device, and what is no loss token."""

import math
from dataclasses import replace

import pytest
import torch
from test_batching import CPU, group, sequence

from rlreason.algorithms.batching import (
    Row,
    collate,
    plan_microbatches,
    share_prompts,
    train_sequence,
)


def test_what_is_no_loss_token_reaches_nothing() -> None:
    clean = train_sequence(group(0, [3], [0.5]).group.rollouts[0], advantage=0.5)
    nan = (math.nan,) * 2
    dirty = replace(
        clean,
        advantages=nan + clean.advantages[2:],
        rollout_logprobs=nan + (clean.rollout_logprobs or ())[2:],
    )
    for mine, theirs in zip(*(collate([(one,)], CPU) for one in (clean, dirty)), strict=True):
        if isinstance(mine, torch.Tensor):
            assert mine.tolist() == theirs.tolist()


@pytest.mark.parametrize("shared", [False, True])
def test_every_tensor_is_on_the_device_asked_for(shared: bool) -> None:
    # "meta" is a device that every machine has, and that is not the default.
    clean = train_sequence(group(0, [3], [0.5]).group.rollouts[0], advantage=0.5)
    rows: list[Row] = [(clean, clean)] if shared else [(clean,), (clean,)]
    batch = collate(rows, torch.device("meta"))
    tensors = [value for value in batch if isinstance(value, torch.Tensor)]
    assert len(tensors) == (8 if shared else 6)
    assert {tensor.device.type for tensor in [*tensors, batch.sequences.ids]} == {"meta"}


def test_a_row_may_hold_exactly_its_limit() -> None:
    pair = [sequence((5, 6), (10,)), sequence((5, 6), (20, 21))]  # 2 + 1 + 2 tokens
    assert [len(row) for row in share_prompts(pair, 5)] == [2]
    assert [len(row) for row in share_prompts(pair, 4)] == [1, 1]


def test_saving_exactly_a_fifth_is_worth_a_mask() -> None:
    # Two sequences of 2 + 3 tokens: 10 alone, 8 behind one prompt.
    pair = [sequence((5, 6), (10, 11, 12)), sequence((5, 6), (20, 21, 22))]
    [[row]] = plan_microbatches(pair, budget=100, max_shared_row=100)
    assert len(row) == 2


def test_a_row_of_two_is_a_shared_one() -> None:
    # Both rows have 10 tokens and would fit into one micro-batch; only one of them needs a mask.
    pair = [sequence((1,) * 8, (10,)), sequence((1,) * 8, (20,))]
    plan = plan_microbatches([*pair, sequence((2,), (30,) * 9)], budget=100, max_shared_row=20)
    assert [[len(row) for row in rows] for rows in plan] == [[1], [2]]
