"""Importance weights by hand, per token and per sequence, truncated and masked."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_batches import part, random_batch

from rlreason.algorithms.offpolicy import importance_weights
from rlreason.algorithms.sequences import Sequences
from rlreason.config import Correction

LEARNER = torch.tensor([1.0, 3.0, 0.25, 0.5, 0.4]).log().requires_grad_()
SEQUENCES = Sequences(torch.tensor([0, 0, 0, 1, 1]), 2)


@pytest.mark.parametrize(
    ("correction", "weights", "bounded"),
    # ratios 1, 3, 1/4 | 1/2, 2/5; products 3/4 and 1/5; cap 2
    [
        ("token_truncated", [1.0, 2.0, 0.25, 0.5, 0.4], [0, 1, 0, 0, 0]),
        ("token_masked", [1.0, 0.0, 0.0, 0.5, 0.0], [0, 1, 1, 0, 1]),
        ("sequence_truncated", [0.75] * 3 + [0.2] * 2, [0] * 5),
        ("sequence_masked", [0.75] * 3 + [0.0] * 2, [0, 0, 0, 1, 1]),
    ],
)
def test_by_hand(correction: Correction, weights: list[float], bounded: list[int]) -> None:
    got = importance_weights(LEARNER, torch.zeros(5), SEQUENCES, correction=correction, cap=2.0)
    assert got.weights.tolist() == pytest.approx(weights)
    assert got.bounded.tolist() == [bool(value) for value in bounded]
    assert not got.weights.requires_grad


def test_a_long_drift_upwards_is_truncated_as_a_whole() -> None:
    # 1.5 * 1.6 = 2.4 > 2, though no token is
    learner = torch.tensor([1.5, 1.6]).log()
    sequences = Sequences(torch.tensor([0, 0]), 1)
    got = importance_weights(
        learner, torch.zeros(2), sequences, correction="sequence_truncated", cap=2.0
    )
    assert got.weights.tolist() == [2.0, 2.0]
    assert got.bounded.tolist() == [True, True]


@given(seed=st.integers(0, 1_000), correction=st.sampled_from(get_args(Correction)))
def test_matches_the_scalar_reference(seed: int, correction: Correction) -> None:
    batch = random_batch(seed)
    got = importance_weights(
        batch.policy, batch.old, batch.sequences, correction=correction, cap=1.3
    )
    ids = batch.sequences.ids.tolist()
    gaps = (batch.policy - batch.old).tolist()
    for index, own in enumerate(ids):
        whole = sum(gap for gap, other in zip(gaps, ids, strict=True) if other == own)
        ratio = math.exp(whole if correction.startswith("sequence") else gaps[index])
        if correction.endswith("truncated"):
            expected = min(ratio, 1.3)
        else:
            expected = ratio if 1 / 1.3 <= ratio <= 1.3 else 0.0
        assert got.weights[index].item() == pytest.approx(expected)


@pytest.mark.parametrize("correction", get_args(Correction))
def test_an_exact_sampler_needs_no_correction(correction: Correction) -> None:
    got = importance_weights(LEARNER, LEARNER, SEQUENCES, correction=correction, cap=1.0)
    assert got.weights.tolist() == [1.0] * 5
    assert not got.bounded.any()


@given(
    seed=st.integers(0, 1_000),
    split=st.integers(1, 5),
    correction=st.sampled_from(get_args(Correction)),
)
def test_parts_of_a_split_hold_the_weights_of_the_whole(
    seed: int, split: int, correction: Correction
) -> None:
    batch = random_batch(seed)
    whole, *pieces = (
        importance_weights(one.policy, one.old, one.sequences, correction=correction, cap=1.3)
        for one in (batch, part(batch, 0, split), part(batch, split, 6))
    )
    for field in ("weights", "bounded"):
        joined = torch.cat([getattr(piece, field) for piece in pieces])
        torch.testing.assert_close(joined, getattr(whole, field))


@pytest.mark.parametrize("correction", get_args(Correction))
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf])
def test_a_broken_sequence_reaches_no_other(correction: Correction, garbage: float) -> None:
    batch = random_batch(seed=1)
    dirty = batch.policy.clone()
    dirty[0] = garbage
    kept = batch.sequences.ids != batch.sequences.ids[0]
    weights = [
        importance_weights(policy, batch.old, batch.sequences, correction=correction, cap=1.3)
        for policy in (dirty, batch.policy)
    ]
    assert weights[0].weights[kept].tolist() == weights[1].weights[kept].tolist()
