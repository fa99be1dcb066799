"""clipped_policy_loss against hand arithmetic, an independent loop, and its invariants."""

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlreason.algorithms.losses import (
    PolicyLoss,
    clipped_policy_loss,
    truncated_importance_weights,
)
from rlreason.errors import ShapeError

CLIP_LOW, CLIP_HIGH, TOTAL = 0.2, 0.28, 24


class Batch(NamedTuple):
    policy: Tensor
    old: Tensor
    advantages: Tensor
    mask: Tensor
    weights: Tensor | None = None


def random_batch(seed: int, dtype: torch.dtype = torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    policy, old, advantages = (torch.randn(4, 6, generator=generator, dtype=dtype) for _ in "poa")
    mask = torch.rand(4, 6, generator=generator) < 0.7
    weights = torch.rand(4, 6, generator=generator, dtype=dtype) * 2
    return Batch(policy, old, advantages, mask, weights)


def loss_of(batch: Batch, num_loss_tokens: int = TOTAL) -> PolicyLoss:
    return clipped_policy_loss(
        *batch[:4],
        clip_low=CLIP_LOW,
        clip_high=CLIP_HIGH,
        num_loss_tokens=num_loss_tokens,
        importance_weights=batch.weights,
    )


def reference_loss(batch: Batch) -> float:
    """The formula again, one token at a time, sharing no code with the implementation."""
    loss = 0.0
    for p, o, a, m, w in zip(*(t.flatten().tolist() for t in batch), strict=True):
        if m:
            ratio = math.exp(p - o)
            loss -= w * min(ratio * a, min(max(ratio, 1 - CLIP_LOW), 1 + CLIP_HIGH) * a)
    return loss / TOTAL


def test_golden_values() -> None:
    # ratio       0.5    1.0    1.5    0.5      worked out by hand
    # advantage    +1     -1     +2     -1
    # r * A       0.5   -1.0    3.0   -0.5
    # clamp(r)*A  0.8   -1.0   2.56   -0.8
    # min         0.5   -1.0   2.56   -0.8   -> sum 1.26, clipped at tokens 3 and 4
    policy = torch.tensor([[0.5, 1.0, 1.5, 0.5]]).log()
    advantages = torch.tensor([[1.0, -1.0, 2.0, -1.0]])
    batch = Batch(policy, torch.zeros(1, 4), advantages, torch.ones(1, 4, dtype=torch.bool))
    result = loss_of(batch, num_loss_tokens=4)
    assert result.loss.item() == pytest.approx(-1.26 / 4)
    assert result.clip_frac.item() == pytest.approx(2 / 4)


@given(seed=st.integers(0, 10_000))
def test_matches_the_per_token_reference(seed: int) -> None:
    batch = random_batch(seed)
    assert loss_of(batch).loss.item() == pytest.approx(reference_loss(batch), rel=1e-5, abs=1e-5)


@given(seed=st.integers(0, 10_000), split=st.integers(1, 3))
def test_microbatch_losses_add_up_to_the_batch_loss(seed: int, split: int) -> None:
    batch = random_batch(seed)
    first, second = Batch(*(t[:split] for t in batch)), Batch(*(t[split:] for t in batch))
    torch.testing.assert_close(loss_of(first).loss + loss_of(second).loss, loss_of(batch).loss)


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_masked_positions_reach_neither_loss_nor_gradient(garbage: float) -> None:
    batch = random_batch(seed=0)
    dirty = {
        name: getattr(batch, name).masked_fill(~batch.mask, garbage)
        for name in ("policy", "old", "advantages", "weights")
    }
    dirty["policy"].requires_grad_()
    loss = loss_of(batch._replace(**dirty)).loss
    loss.backward()
    assert loss.item() == loss_of(batch).loss.item()
    gradient = dirty["policy"].grad
    assert gradient is not None
    assert torch.all(gradient[~batch.mask] == 0)
    assert torch.all(torch.isfinite(gradient))


def test_at_the_old_policy_the_gradient_is_reinforce() -> None:
    batch = random_batch(seed=3)
    policy = batch.old.clone().requires_grad_()
    loss_of(batch._replace(policy=policy, weights=None)).loss.backward()
    expected = torch.where(batch.mask, -batch.advantages / TOTAL, 0.0)
    torch.testing.assert_close(policy.grad, expected)


@given(seed=st.integers(0, 1_000))
def test_gradient_matches_finite_differences(seed: int) -> None:
    batch = random_batch(seed, dtype=torch.float64)
    ratio = (batch.policy - batch.old).exp()
    # At the kinks of the clip a difference quotient means nothing: move ratios away from them.
    near = ((ratio - (1 - CLIP_LOW)).abs() < 1e-3) | ((ratio - (1 + CLIP_HIGH)).abs() < 1e-3)
    policy = (batch.policy + 0.01 * near).requires_grad_()
    loss_of(batch._replace(policy=policy)).loss.backward()
    row, column = seed % 4, seed % 6
    step = torch.zeros_like(policy)
    step[row, column] = 1e-6
    up = loss_of(batch._replace(policy=policy.detach() + step)).loss
    down = loss_of(batch._replace(policy=policy.detach() - step)).loss
    assert policy.grad is not None
    assert policy.grad[row, column].item() == pytest.approx(((up - down) / 2e-6).item(), abs=1e-6)


def test_shapes_that_differ_are_refused() -> None:
    batch = random_batch(seed=0)
    with pytest.raises(ShapeError, match="equal shapes"):
        loss_of(batch._replace(advantages=batch.advantages[:, :-1], weights=None))


def test_importance_weights_are_truncated_and_carry_no_gradient() -> None:
    # exp(0) = 1, exp(1) = 2.718 capped at 2, exp(-1) = 0.368
    policy = torch.tensor([0.0, 1.0, -1.0], requires_grad=True)
    weights = truncated_importance_weights(policy, torch.zeros(3), cap=2.0)
    assert weights.tolist() == pytest.approx([1.0, 2.0, math.exp(-1)])
    assert not weights.requires_grad
