"""KL estimators: hand values, and their expectation against the exact divergence."""

import math
from typing import get_args

import pytest
import torch
from loss_batches import random_batch

from rlreason.algorithms.kl import KlEstimator, kl_per_token


@pytest.mark.parametrize(
    ("estimator", "expected"),
    # policy 0.5, reference 0.25: d = ln 0.5 = -0.6931
    [("k1", 0.693147), ("k2", 0.240227), ("k3", 0.5 - 1 + 0.693147)],
)
def test_golden_values(estimator: KlEstimator, expected: float) -> None:
    policy, reference = torch.tensor([0.5]).log(), torch.tensor([0.25]).log()
    assert kl_per_token(policy, reference, estimator).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_the_unbiased_ones_average_to_the_exact_divergence(estimator: KlEstimator) -> None:
    # Exact expectation over a three-token vocabulary instead of a Monte Carlo estimate.
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    exact = (policy * (policy / reference).log()).sum()
    estimates = kl_per_token(policy.log(), reference.log(), estimator)
    torch.testing.assert_close((policy * estimates).sum(), exact)


def test_k3_is_never_negative_and_zero_at_equality() -> None:
    policy = torch.linspace(-5, 0, 101)
    estimates = kl_per_token(policy, torch.full_like(policy, -2.0), "k3")
    assert estimates.min() >= 0
    assert kl_per_token(policy, policy, "k3").abs().max() == 0


@pytest.mark.parametrize(
    ("estimator", "slope"),
    # d(k1)/dp = 1; d(k2)/dp = p - r; d(k3)/dp = 1 - exp(r - p)
    [("k1", 1.0), ("k2", 0.7), ("k3", 1 - math.exp(-0.7))],
)
def test_gradient_flows_through_the_policy_only(estimator: KlEstimator, slope: float) -> None:
    policy = torch.tensor([-0.3], requires_grad=True)
    reference = torch.tensor([-1.0], requires_grad=True)
    kl_per_token(policy, reference, estimator).sum().backward()
    assert policy.grad is not None
    assert policy.grad.item() == pytest.approx(slope, abs=1e-6)
    assert reference.grad is None


@pytest.mark.parametrize("estimator", get_args(KlEstimator))
def test_the_gradient_matches_finite_differences(estimator: KlEstimator) -> None:
    batch = random_batch(seed=4)
    assert torch.autograd.gradcheck(
        lambda policy: kl_per_token(policy, batch.old, estimator),
        batch.policy.clone().requires_grad_(),
    )


@pytest.mark.parametrize("estimator", get_args(KlEstimator))
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf])
def test_a_token_reaches_no_other(estimator: KlEstimator, garbage: float) -> None:
    # There is no mask: only loss tokens get here (test_batching.py). Each stands alone, so any
    # split and any order of them is exact.
    batch = random_batch(seed=5)
    dirty = batch.policy.clone()
    dirty[0] = garbage
    dirty.requires_grad_()
    values = kl_per_token(dirty, batch.old, estimator)
    values[1:].sum().backward()
    clean = kl_per_token(batch.policy, batch.old, estimator)
    assert values[1:].tolist() == clean[1:].tolist()
    assert dirty.grad is not None
    assert torch.isfinite(dirty.grad[1:]).all()
