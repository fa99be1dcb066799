"""Aggregations by hand, exact under any split, and what Dr.GRPO's constant removes."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_batches import part, random_batch
from torch import Tensor

from rlreason.algorithms.advantages import centered, group_normalized
from rlreason.algorithms.aggregation import AGGREGATIONS, Denominators
from rlreason.algorithms.losses import clipped_loss
from rlreason.algorithms.sequences import Sequences
from rlreason.config import AlgorithmSection
from rlreason.config.algorithm import AggregationName
from rlreason.types import TrainBatch, TrainSequence

NAMES = pytest.mark.parametrize("name", sorted(AGGREGATIONS))


def options_of(name: str) -> AlgorithmSection:
    constant = {"tokens_per_sequence": 10} if name == "constant" else {}
    return AlgorithmSection.model_validate({"aggregation": name} | constant)


def aggregate(
    name: str,
    values: Tensor,
    sequences: Sequences,
    counts: Denominators,
    mask: Tensor | None = None,
) -> Tensor:
    return AGGREGATIONS[name](
        values,
        loss_mask=torch.ones_like(values, dtype=torch.bool) if mask is None else mask,
        sequences=sequences,
        denominators=counts,
        options=options_of(name),
    )


def test_the_configuration_names_exactly_the_aggregations_that_there_are() -> None:
    assert set(get_args(AggregationName)) == set(AGGREGATIONS)


@pytest.mark.parametrize(
    ("name", "expected"),
    # values 1 | 2 4 and a masked token; a third sequence, of three tokens, was left out
    [
        ("token_mean", (1 + 2 + 4) / 6),
        ("sequence_mean", (1 + 3) / 3),
        ("constant", (1 + 2 + 4) / (3 * 10)),
    ],
)
def test_by_hand(name: str, expected: float) -> None:
    values, mask = torch.tensor([1.0, 2.0, 4.0, math.nan]), torch.tensor([True, True, True, False])
    sequences = Sequences(torch.tensor([0, 1, 1, 1]), 2)
    got = aggregate(name, values, sequences, Denominators(6, 3), mask)
    assert got.item() == pytest.approx(expected)


def test_a_masked_token_is_in_no_sequence_mean() -> None:
    # 2 | 4 and a masked token: (2 + 4) / 2
    values, mask = torch.tensor([2.0, 4.0, 0.0]), torch.tensor([True, True, False])
    sequences = Sequences(torch.tensor([0, 1, 1]), 2)
    got = aggregate("sequence_mean", values, sequences, Denominators(2, 2), mask)
    assert got.item() == pytest.approx(3.0)


@NAMES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_keeps_the_dtype_of_its_values(name: str, dtype: torch.dtype) -> None:
    batch = random_batch(seed=0, dtype=dtype)
    got = aggregate(name, batch.policy, batch.sequences, Denominators(9, 6), batch.mask)
    assert got.dtype == dtype


@NAMES
@given(seed=st.integers(0, 10_000), split=st.integers(1, 5))
def test_parts_add_up_to_the_whole(name: str, seed: int, split: int) -> None:
    batch = random_batch(seed)
    values = torch.where(batch.mask, batch.policy, 0.0)
    counts = Denominators(int(batch.mask.sum()), batch.sequences.size)
    whole = aggregate(name, values, batch.sequences, counts, batch.mask)
    pieces = [part(batch, 0, split), part(batch, split, 6)]
    parts = [
        aggregate(name, torch.where(p.mask, p.policy, 0.0), p.sequences, counts, p.mask)
        for p in pieces
    ]
    torch.testing.assert_close(sum(parts), whole)


@NAMES
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf])
def test_masked_values_reach_neither_loss_nor_gradient(name: str, garbage: float) -> None:
    batch = random_batch(seed=1)
    assert not batch.mask.all()
    counts, results = Denominators(int(batch.mask.sum()), 6), []
    for filler in (garbage, 0.0):
        values = batch.policy.masked_fill(~batch.mask, filler).requires_grad_()
        loss = aggregate(name, values, batch.sequences, counts, batch.mask)
        [gradient] = torch.autograd.grad(loss, values)
        assert torch.all(gradient[~batch.mask] == 0)
        results.append((loss.item(), gradient.tolist()))
    assert results[0] == results[1]


@NAMES
@settings(max_examples=20)
@given(seed=st.integers(0, 1_000))
def test_the_order_of_the_sequences_does_not_matter(name: str, seed: int) -> None:
    batch, order = random_batch(seed), [2, 0, 1, 5, 3, 4]
    pieces = [part(batch, number, number + 1) for number in order]
    lengths = torch.tensor([len(piece.policy) for piece in pieces])
    shuffled = aggregate(
        name,
        torch.cat([piece.policy for piece in pieces]),
        Sequences(torch.arange(6).repeat_interleave(lengths), 6),
        Denominators(20, 6),
        torch.cat([piece.mask for piece in pieces]),
    )
    straight = aggregate(name, batch.policy, batch.sequences, Denominators(20, 6), batch.mask)
    torch.testing.assert_close(shuffled, straight)


@NAMES
def test_the_gradient_matches_finite_differences(name: str) -> None:
    batch = random_batch(seed=2)
    assert torch.autograd.gradcheck(
        lambda values: aggregate(name, values, batch.sequences, Denominators(20, 6), batch.mask),
        batch.policy.clone().requires_grad_(),
    )


def test_denominators_count_what_was_left_out() -> None:
    sequence = TrainSequence(
        token_ids=(1, 2), loss_mask=(False, True), advantages=(0.0, 1.0), rollout_logprobs=None
    )
    batch = TrainBatch(sequences=(sequence,), num_loss_tokens=9, num_left_out=4)
    assert Denominators.of(batch) == (9, 5)


def weight_per_token(name: str, lengths: list[int]) -> list[float]:
    """What a token of each sequence weighs, the sequences having advantage 1."""
    ids = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    policy = torch.zeros(len(ids), requires_grad=True)
    mask = torch.ones(len(ids), dtype=torch.bool)
    loss = clipped_loss(
        policy, policy.detach(), torch.ones(len(ids)), mask, clip_low=0, clip_high=0
    )
    sequences = Sequences(ids, len(lengths))
    aggregate(name, loss.values, sequences, Denominators(len(ids), len(lengths))).backward()
    assert policy.grad is not None
    return (-sequences.firsts(policy.grad)).tolist()


def test_the_constant_removes_every_weight_of_length() -> None:
    # sequence_mean: a token of a completion of 2 weighs ten times one of 20. token_mean: all weigh
    # the same, but the less the longer the others are. constant: 1 / (2 * 10) whatever the lengths.
    assert weight_per_token("sequence_mean", [2, 20]) == pytest.approx([1 / 4, 1 / 40])
    assert weight_per_token("token_mean", [2, 20]) == pytest.approx([1 / 22, 1 / 22])
    assert weight_per_token("token_mean", [2, 2]) == pytest.approx([1 / 4, 1 / 4])
    assert weight_per_token("constant", [2, 20]) == pytest.approx([1 / 20, 1 / 20])
    assert weight_per_token("constant", [2, 2]) == pytest.approx([1 / 20, 1 / 20])


def test_centering_removes_the_weight_of_difficulty() -> None:
    # One right of eight, four of eight: a right completion counts for what it adds to the mean,
    # 7/8 and 1/2. The standard deviation (0.354 and 0.535) makes the rare one 2.65 times as loud.
    rewards = torch.tensor([[1.0] + [0.0] * 7, [1.0] * 4 + [0.0] * 4])
    counted = torch.ones_like(rewards, dtype=torch.bool)
    assert centered(rewards, counted)[:, 0].tolist() == pytest.approx([7 / 8, 1 / 2])
    # sample std: sqrt(8/7 * p * (1 - p))
    expected = [
        (7 / 8) / (8 / 7 * 7 / 64) ** 0.5,
        (1 / 2) / (8 / 7 * 1 / 4) ** 0.5,
    ]
    got = group_normalized(rewards, counted)[:, 0].tolist()
    assert got == pytest.approx(expected, rel=1e-4)
    assert got[0] / got[1] > 2.6
