"""Every loss against plain Python, and what all of them keep. By hand: test_losses_by_hand.py."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_batches import (
    OPTIONS,
    Batch,
    couple,
    loss_of,
    part,
    random_batch,
    reference_tokens,
    soiled,
)

from rlreason.algorithms.losses import LOSSES
from rlreason.config.algorithm import LossName
from rlreason.errors import ShapeError

NAMES = pytest.mark.parametrize("name", sorted(LOSSES))


def test_the_configuration_names_exactly_the_losses_that_there_are() -> None:
    assert set(get_args(LossName)) == set(LOSSES) == set(OPTIONS)


@NAMES
@given(seed=st.integers(0, 10_000))
def test_matches_the_token_by_token_reference(name: str, seed: int) -> None:
    batch = random_batch(seed)
    expected = reference_tokens(name, batch)
    assert loss_of(name, batch).values.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@NAMES
@given(seed=st.integers(0, 10_000), split=st.integers(1, 5))
def test_parts_of_a_split_hold_the_values_and_gradients_of_the_whole(
    name: str, seed: int, split: int
) -> None:
    # Two micro-batches or two ranks; the cut may go through a group of three.
    batch = random_batch(seed)
    coupling = couple(name, batch) if LOSSES[name].couple else None
    whole = batch.policy.clone().requires_grad_()
    loss_of(name, batch._replace(policy=whole), coupling).values.sum().backward()
    gradients, values = [], []
    for first, last in ((0, split), (split, 6)):
        piece = part(batch, first, last)
        policy = piece.policy.clone().requires_grad_()
        mine = None if coupling is None else coupling[:, first:last]
        loss = loss_of(name, piece._replace(policy=policy), mine)
        loss.values.sum().backward()
        values.append(loss.values.detach())
        gradients.append(policy.grad)
    torch.testing.assert_close(torch.cat(values), loss_of(name, batch, coupling).values)
    torch.testing.assert_close(torch.cat(gradients), whole.grad)


@NAMES
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_masked_positions_reach_neither_loss_nor_gradient(name: str, garbage: float) -> None:
    batch = random_batch(seed=1)
    assert not batch.mask.all()
    coupling = couple(name, batch) if LOSSES[name].couple else None
    dirty = soiled(batch, garbage)
    policy = dirty.policy.clone().requires_grad_()
    loss = loss_of(name, dirty._replace(policy=policy), coupling)
    loss.values.sum().backward()
    clean = loss_of(name, batch, coupling)
    assert loss.values.tolist() == clean.values.tolist()
    assert loss.clipped.tolist() == clean.clipped.tolist()
    assert not (loss.clipped & ~batch.mask).any()
    assert policy.grad is not None
    assert torch.all(policy.grad[~batch.mask] == 0)
    assert torch.all(torch.isfinite(policy.grad))


@NAMES
@given(seed=st.integers(0, 1_000))
def test_the_gradient_matches_finite_differences(name: str, seed: int) -> None:
    # cispo's and V1's values are not what their gradient is of as a whole: the weight and the
    # partner's ratio are constants. So these are held at the point of departure.
    batch = random_batch(seed)
    coupling = couple(name, batch) if LOSSES[name].couple else None
    policy = batch.policy.clone().requires_grad_()
    loss_of(name, batch._replace(policy=policy), coupling).values.sum().backward()
    index = seed % len(policy)
    step = torch.zeros_like(batch.policy)
    step[index] = 1e-6
    up, down = (
        surrogate(name, batch, batch.policy + sign * step, coupling) for sign in (1.0, -1.0)
    )
    assert policy.grad is not None
    assert policy.grad[index].item() == pytest.approx((up - down) / 2e-6, abs=2e-6)


def surrogate(
    name: str, batch: Batch, policy: torch.Tensor, coupling: torch.Tensor | None
) -> float:
    """The function whose gradient the loss has at ``batch``."""
    moved = batch._replace(policy=policy)
    if name == "cispo":
        options = OPTIONS[name]
        ratio = (batch.policy - batch.old).exp()
        weight = ratio.clamp(1 - options.clip_low, 1 + options.clip_high)
        return float((-weight * batch.advantages * policy)[batch.mask].sum())
    if name == "gspo":
        # Each token carries the whole ratio but its own share of the gradient: the mean over a
        # sequence is GSPO's objective, whose gradient is spread over the tokens.
        options = OPTIONS[name]
        ratios = batch.sequences.means(policy - batch.old, batch.mask).exp()
        counts = batch.sequences.lengths(batch.mask)
        signs = batch.sequences.firsts(batch.advantages)
        held = ratios.clamp(1 - options.clip_low, 1 + options.clip_high)
        return float(-(torch.minimum(ratios * signs, held * signs) * counts).sum())
    if name == "p3o_joint":
        assert coupling is not None
        gaps = batch.sequences.means(policy - batch.policy, batch.mask)
        counts = batch.sequences.lengths(batch.mask)
        return float(-(gaps * coupling[2] * counts).sum())
    return float(loss_of(name, moved, coupling).values.sum())


@NAMES
@given(seed=st.integers(0, 1_000))
def test_permuting_a_group_permutes_the_loss(name: str, seed: int) -> None:
    batch = random_batch(seed)
    order = [2, 0, 1, 5, 3, 4]
    pieces = [part(batch, number, number + 1) for number in order]
    ids = torch.arange(6).repeat_interleave(torch.tensor([len(p.policy) for p in pieces]))
    shuffled = Batch(
        *(torch.cat(list(tensors)) for tensors in zip(*(p[:5] for p in pieces), strict=True)),
        batch.sequences._replace(ids=ids),
        batch.groups[order],
    )
    before, after = loss_of(name, batch).values, loss_of(name, shuffled).values
    expected = torch.cat([before[batch.sequences.ids == number] for number in order])
    torch.testing.assert_close(after, expected)


@pytest.mark.parametrize("name", ["clipped", "gspo", "cispo", "reinforce"])
def test_at_the_old_policy_the_gradient_is_reinforce(name: str) -> None:
    batch = random_batch(seed=3)
    policy = batch.old.clone().requires_grad_()
    loss_of(name, batch._replace(policy=policy)).values.sum().backward()
    torch.testing.assert_close(policy.grad, torch.where(batch.mask, -batch.advantages, 0.0))


@pytest.mark.parametrize("name", ["p3o", "p3o_joint"])
@given(seed=st.integers(0, 1_000), shift=st.floats(-5, 5))
def test_pairs_do_not_see_a_shift_of_all_rewards(name: str, seed: int, shift: float) -> None:
    batch = random_batch(seed)
    shifted = batch._replace(advantages=batch.advantages + shift)
    torch.testing.assert_close(loss_of(name, shifted).values, loss_of(name, batch).values)


READS = {
    "clipped": "clipped_loss policy old advantages mask",
    "cispo": "cispo_loss policy old advantages mask",
    "gspo": "gspo_loss policy old advantages mask sequences",
    "p3o": "pairwise_loss policy old mask sequences",
    "p3o_joint": "pairwise_loss policy old mask sequences",
    "reinforce": "log_likelihood_loss policy advantages mask",
    "likelihood": "log_likelihood_loss policy advantages mask",
    "distillation": "distillation_loss policy old teacher mask",
}
"""Each loss's function, and the tensors that it must not take in another shape."""


@NAMES
def test_a_tensor_of_another_shape_is_refused_whichever_it_is(name: str) -> None:
    # One entry instead of many would be broadcast in silence.
    batch, (function, *fields) = random_batch(seed=0), READS[name].split()
    coupling = couple(name, batch) if LOSSES[name].couple else None
    for field in fields:
        short = (
            batch.sequences._replace(ids=batch.sequences.ids[:1])
            if field == "sequences"
            else getattr(batch, field)[:1]
        )
        with pytest.raises(ShapeError, match=f"^{function} needs equal shapes.*\\(1,\\)"):
            loss_of(name, batch._replace(**{field: short}), coupling)


@pytest.mark.parametrize(
    ("name", "missing"), [("distillation", "teacher"), ("p3o", "pair coefficients")]
)
def test_a_loss_says_what_it_lacks(name: str, missing: str) -> None:
    from rlreason.algorithms.losses import LossInput

    batch = random_batch(seed=0)
    given_ = LossInput(batch.policy, batch.old, batch.advantages, batch.mask, batch.sequences)
    with pytest.raises(ShapeError, match=missing):
        LOSSES[name].per_token(given_, OPTIONS[name])
