"""Losses worked out by hand, and what ties one to another."""

import math

import pytest
import torch
from loss_batches import random_batch
from torch import Tensor

from rlreason.algorithms.advantages import leave_one_out
from rlreason.algorithms.losses import (
    cispo_loss,
    clipped_loss,
    distillation_loss,
    gspo_loss,
    log_likelihood_loss,
    pair_coefficients,
    pairwise_loss,
)
from rlreason.algorithms.losses.pairwise import PairCoefficients
from rlreason.algorithms.sequences import Sequences
from rlreason.errors import ShapeError

RATIOS = torch.tensor([0.5, 1.0, 1.5, 0.5, 4.0])
ADVANTAGES = torch.tensor([1.0, -1.0, 2.0, -1.0, -1.0])
ALL = torch.ones(5, dtype=torch.bool)


def test_clipped_by_hand() -> None:
    # ratio       0.5    1.0    1.5    0.5    4.0     clip to [0.8, 1.28]
    # advantage    +1     -1     +2     -1     -1
    # r * A       0.5   -1.0    3.0   -0.5   -4.0
    # clamp(r)*A  0.8   -1.0   2.56   -0.8  -1.28
    # min         0.5   -1.0   2.56   -0.8   -4.0     the clip bites at the third and fourth
    loss = clipped_loss(RATIOS.log(), torch.zeros(5), ADVANTAGES, ALL, clip_low=0.2, clip_high=0.28)
    assert loss.values.tolist() == pytest.approx([-0.5, 1.0, -2.56, 0.8, 4.0])
    assert loss.clipped.tolist() == [False, False, True, True, False]


def test_dual_clip_bounds_what_counts_against_a_likely_token() -> None:
    # The last of the above: -4.0 becomes 3 * -1; nothing else changes, no gradient is left.
    policy = RATIOS.log().requires_grad_()
    loss = clipped_loss(
        policy, torch.zeros(5), ADVANTAGES, ALL, clip_low=0.2, clip_high=0.28, dual_clip=3.0
    )
    loss.values.sum().backward()
    assert loss.values.tolist() == pytest.approx([-0.5, 1.0, -2.56, 0.8, 3.0])
    assert loss.clipped.tolist() == [False, False, True, True, True]
    assert policy.grad is not None
    # -r * A where it is not clipped
    assert policy.grad.tolist() == pytest.approx([-0.5, 1.0, 0.0, 0.0, 0.0])


def test_cispo_by_hand() -> None:
    # weights 0.5, 1, 1.28, 0.5, 1.28 with no lower bound; the gradient is -w * A everywhere.
    policy = RATIOS.log().requires_grad_()
    loss = cispo_loss(policy, torch.zeros(5), ADVANTAGES, ALL, clip_low=1.0, clip_high=0.28)
    loss.values.sum().backward()
    assert policy.grad is not None
    assert policy.grad.tolist() == pytest.approx([-0.5, 1.0, -2.56, 0.5, 1.28])
    expected = [g * math.log(r) for g, r in zip(policy.grad.tolist(), RATIOS.tolist(), strict=True)]
    assert loss.values.tolist() == pytest.approx(expected)
    assert loss.clipped.tolist() == [False, False, True, False, True]


def test_gspo_by_hand() -> None:
    # Two sequences: ratios 2 and 2 -> s = 2, and 4 and 1/4 -> s = sqrt(4 / 4) = 1.
    # A = 1: min(2, 1.5) = 1.5, clipped whole; A = -1: -1, each token with half of the gradient
    # of its sequence mean, so with all of it where the tokens are added up.
    policy = torch.tensor([2.0, 2.0, 4.0, 0.25]).log().requires_grad_()
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0])
    sequences = Sequences(torch.tensor([0, 0, 1, 1]), 2)
    loss = gspo_loss(
        policy, torch.zeros(4), advantages, ALL[:4], sequences, clip_low=0.5, clip_high=0.5
    )
    loss.values.sum().backward()
    assert loss.values.tolist() == pytest.approx([-1.5, -1.5, 1.0, 1.0])
    assert loss.clipped.tolist() == [True, True, False, False]
    assert policy.grad is not None
    assert policy.grad.tolist() == pytest.approx([0.0, 0.0, 1.0, 1.0])


def test_gspo_is_grpo_for_sequences_of_one_token() -> None:
    batch = random_batch(seed=5)
    alone = Sequences(torch.arange(len(batch.policy)), len(batch.policy))
    results = []
    for function, rest in ((clipped_loss, ()), (gspo_loss, (alone,))):
        policy = batch.policy.clone().requires_grad_()
        loss = function(
            policy, batch.old, batch.advantages, batch.mask, *rest, clip_low=0.1, clip_high=0.2
        )
        loss.values.sum().backward()
        results.append((loss.values.detach(), policy.grad, loss.clipped))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_likelihood_by_hand() -> None:
    # Weight 1: the negative log-likelihood; weight 0: nothing.
    policy = torch.tensor([0.5, 0.25, 0.1]).log().requires_grad_()
    loss = log_likelihood_loss(policy, torch.tensor([1.0, 1.0, 0.0]), ALL[:3])
    loss.values.sum().backward()
    assert loss.values.tolist() == pytest.approx([math.log(2), math.log(4), 0.0])
    assert policy.grad is not None
    assert policy.grad.tolist() == [-1.0, -1.0, 0.0]
    assert not loss.clipped.any()


def test_distillation_by_hand() -> None:
    # The teacher gives 0.5 where the policy gives 0.25: A = ln 2, the token grows; and 0.1 where
    # the policy gives 0.4: A = -ln 4, it shrinks. At ratio 1 the value is the k1 estimate, -A.
    old = torch.tensor([0.25, 0.4]).log()
    policy = old.clone().requires_grad_()
    teacher = torch.tensor([0.5, 0.1]).log()
    loss = distillation_loss(policy, old, teacher, ALL[:2], clip_low=0.2, clip_high=0.2)
    loss.values.sum().backward()
    assert loss.values.tolist() == pytest.approx([-math.log(2), math.log(4)])
    assert policy.grad is not None
    assert policy.grad.tolist() == pytest.approx([-math.log(2), math.log(4)])


def test_distillation_follows_the_gradient_of_the_exact_reverse_kl() -> None:
    # Expectation over a vocabulary of three instead of a sample.
    logits = torch.tensor([0.3, -0.2, 0.5], requires_grad=True)
    teacher = torch.tensor([0.2, 0.5, 0.3]).log()
    logprobs = logits.log_softmax(0)
    exact = (logprobs.exp() * (logprobs - teacher)).sum()
    [expected] = torch.autograd.grad(exact, logits, retain_graph=True)
    loss = distillation_loss(
        logprobs, logprobs.detach(), teacher, ALL[:3], clip_low=0.2, clip_high=0.2
    )
    [got] = torch.autograd.grad((logprobs.detach().exp() * loss.values).sum(), logits)
    torch.testing.assert_close(got, expected)


def pair(joint: bool, ratios: list[float], rewards: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """(values, gradient, clipped) of one-token sequences of one group, clip 0.5."""
    policy = torch.tensor(ratios).log().requires_grad_()
    count = len(ratios)
    coefficients = pair_coefficients(
        policy.detach(), torch.tensor(rewards), torch.zeros(count, dtype=torch.int64), clip=0.5
    )
    loss = pairwise_loss(
        policy,
        torch.zeros(count),
        torch.ones(count, dtype=torch.bool),
        Sequences(torch.arange(count), count),
        coefficients,
        clip=0.5,
        joint=joint,
        token_mean=False,
    )
    loss.values.sum().backward()
    assert policy.grad is not None
    return loss.values.detach(), policy.grad, loss.clipped


def test_p3o_v1_by_hand() -> None:
    # rewards 1 and 0, ratios 2 and 0.8. First: a = (1 - 0) * 0.8, min(0.8 * 2, 0.8 * 1.5) = 1.2,
    # clipped. Second: a = (0 - 1) * 2, min(-2 * 0.8, -2 * 0.8) = -1.6, gradient a * rho = -1.6.
    values, gradient, clipped = pair(False, [2.0, 0.8], [1.0, 0.0])
    assert values.tolist() == pytest.approx([-1.2, 1.6])
    assert gradient.tolist() == pytest.approx([0.0, 1.6])
    assert clipped.tolist() == [True, False]


def test_p3o_v1_clips_only_what_would_gain_by_it() -> None:
    # The first gains and is inside the clip; the second loses: above it its gradient stays, and
    # below it (0.4 < 0.5) it is silent.
    assert pair(False, [1.2, 2.0], [1.0, 0.0])[2].tolist() == [False, False]
    assert pair(False, [0.4, 0.4], [1.0, 0.0])[2].tolist() == [False, True]
    assert pair(False, [0.4, 0.4], [1.0, 0.0])[1].tolist() == pytest.approx([-0.16, 0.0])


def test_p3o_v2_by_hand() -> None:
    # rewards 1 and 0, ratios 1.2 and 0.9: a = 1.2 * 0.9 = 1.08, l = ln(1.2 / 0.9) = 0.28768,
    # inside the clip: each holds half of a * l, and a times the gradient of its side of l.
    values, gradient, clipped = pair(True, [1.2, 0.9], [1.0, 0.0])
    assert values.tolist() == pytest.approx([-0.54 * math.log(4 / 3)] * 2)
    assert gradient.tolist() == pytest.approx([-1.08, 1.08])
    assert clipped.tolist() == [False, False]
    # ratios 2 and 0.8: l = ln 2.5 = 0.916 > 0.5 is clipped: a / 2 * 0.5 and no gradient.
    values, gradient, clipped = pair(True, [2.0, 0.8], [1.0, 0.0])
    assert values.tolist() == pytest.approx([-1.6 / 2 * 0.5] * 2)
    assert gradient.tolist() == [0.0, 0.0]
    assert clipped.tolist() == [True, True]
    # The same the other way round: l far below -clip with a > 0 keeps its gradient.
    _, gradient, clipped = pair(True, [0.8, 2.0], [1.0, 0.0])
    assert gradient.tolist() == pytest.approx([-1.6, 1.6])
    assert clipped.tolist() == [False, False]


@pytest.mark.parametrize("joint", [False, True])
def test_p3o_over_all_pairs_at_ratio_1_is_rloo(joint: bool) -> None:
    rewards = [1.0, 0.0, 0.25, 3.0, -1.0]
    _, gradient, _ = pair(joint, [1.0] * 5, rewards)
    expected = leave_one_out(torch.tensor([rewards]), ALL[None])[0]
    torch.testing.assert_close(-gradient, expected.float())


@pytest.mark.parametrize("joint", [False, True])
def test_the_gradient_of_a_pair_is_the_papers(joint: bool) -> None:
    # Theorem 1: (r1 - r2) * rho1 * rho2 on log policy(y1), its negative on log policy(y2); the
    # 1/2 of the theorem is the mean over the two completions.
    _, gradient, _ = pair(joint, [1.1, 0.95], [2.0, 0.5])
    expected = 1.5 * 1.1 * 0.95
    assert gradient.tolist() == pytest.approx([-expected, expected])


def test_a_completion_without_a_partner_has_no_pair() -> None:
    groups = torch.tensor([0, 1, 1])
    zeros, rewards = torch.zeros(3), torch.tensor([1.0, 1.0, 0.0])
    coefficients = pair_coefficients(zeros, rewards, groups, clip=0.2)
    assert [field[0].item() for field in coefficients] == [0.0] * 5
    assert coefficients.slope.tolist() == [0.0, 1.0, -1.0]


def test_a_sequence_of_no_group_is_refused() -> None:
    with pytest.raises(ShapeError, match="no group"):
        pair_coefficients(torch.zeros(2), torch.zeros(2), torch.tensor([-1, 0]), clip=0.2)


@pytest.mark.parametrize("short", range(3))
def test_pairs_refuse_tensors_of_other_shapes(short: int) -> None:
    given = [torch.zeros(3), torch.zeros(3), torch.zeros(3, dtype=torch.int64)]
    given[short] = given[short][:1]
    with pytest.raises(ShapeError, match=r"^pair_coefficients needs equal shapes.*\(1,\)"):
        pair_coefficients(*given, clip=0.2)


def test_a_ratio_beyond_all_bounds_is_clipped_without_nan() -> None:
    # V1's partner is at ratio 1; exp(100) is infinite in float32.
    policy = torch.tensor([100.0], requires_grad=True)
    one = torch.ones(1)
    loss = pairwise_loss(
        policy,
        torch.zeros(1),
        ALL[:1],
        Sequences(torch.zeros(1, dtype=torch.int64), 1),
        PairCoefficients(one, 0 * one, 0 * one, 0 * one, 0 * one),
        clip=0.2,
        joint=False,
        token_mean=False,
    )
    loss.values.sum().backward()
    assert policy.grad is not None
    assert policy.grad.tolist() == [0.0]
