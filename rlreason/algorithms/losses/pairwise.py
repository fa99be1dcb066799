"""P3O: every completion of a group against every other (arXiv:2310.00212).

For a pair with rewards r_1, r_2 and ratios rho_i = policy(y_i) / old(y_i) of whole sequences

    gradient of J = 1/2 * (r_1 - r_2) * rho_1 * rho_2 * gradient of log(policy(y_1) / policy(y_2))

so a shift of both rewards changes nothing, and no baseline is needed. Averaged over all pairs of
a group, at rho = 1, it is RLOO. J of a group is the mean over its pairs, times its size: divided by
the update's sequences it is then RLOO's mean over completions.

The sequences of a pair meet only in numbers without gradient: the partner's ratio, and whether the
pair is clipped. So ``pair_coefficients`` computes these once over all sequences of an update, and
``pairwise_loss`` needs nothing beyond its own micro-batch: exact whatever the split.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.algorithms.losses.token_loss import TokenLoss, checked_shapes, masked
from rlreason.algorithms.sequences import Sequences
from rlreason.errors import ShapeError


class PairCoefficients(NamedTuple):
    """What a sequence's loss holds of the others: J_i = up * u(rho_i) + down * d(rho_i) + ..."""

    up: Tensor
    """[sequences] V1: mean over partners of max(a_ij, 0)."""
    down: Tensor
    """[sequences] V1: mean over partners of min(a_ij, 0)."""
    slope: Tensor
    """[sequences] V2: gradient of J_i with respect to the sequence's log ratio."""
    value: Tensor
    """[sequences] V2: J_i itself."""
    clipped: Tensor
    """[sequences] V2: share of the sequence's pairs that the clip silences."""


def pair_coefficients(
    log_ratios: Tensor, advantages: Tensor, groups: Tensor, *, clip: float
) -> PairCoefficients:
    """The coupling of the pairs of each group, without gradient.

        V1, each ratio clipped apart:     a_ij = (A_i - A_j) * rho_j
            J_i = mean over j of min(a_ij * rho_i, a_ij * clamp(rho_i, 1 - clip, 1 + clip))
        V2, the ratio of the two clipped: a_ij = (A_i - A_j) * rho_i * rho_j
            l_ij = log(rho_i / rho_j)
            J_i = mean over j of min(a_ij * l_ij, a_ij * clamp(l_ij, -clip, clip)) / 2

    Args:
        log_ratios: [sequences] log rho of each sequence of the update.
        advantages: [sequences]; only their differences inside a group count.
        groups: [sequences] int64, equal for completions of one prompt.
        clip: Trust region around ratio 1 (V1) or log ratio 0 (V2).

    Raises:
        ShapeError: If the tensors differ in shape or a sequence is of no group (below 0).
    """
    checked_shapes("pair_coefficients", log_ratios=log_ratios, advantages=advantages, groups=groups)
    if bool((groups < 0).any()):
        raise ShapeError("pair_coefficients: a sequence is of no group, so it has no partner")
    result = torch.zeros(5, len(groups), dtype=log_ratios.dtype, device=log_ratios.device)
    for group in sorted(set(groups.tolist())):
        members = groups == group
        if int(members.sum()) > 1:
            result[:, members] = _of_group(log_ratios[members], advantages[members], clip)
    return PairCoefficients(*result)


def _of_group(log_ratios: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """[5, K] the fields of PairCoefficients for one group."""
    partners = len(log_ratios) - 1
    ratio = log_ratios.detach().exp()
    difference = (advantages[:, None] - advantages[None, :]).detach()  # [K, K], 0 on the diagonal
    apart = difference * ratio[None, :]
    joint = apart * ratio[:, None]
    log_odds = (log_ratios[:, None] - log_ratios[None, :]).detach()
    free, held = joint * log_odds, joint * log_odds.clamp(-clip, clip)
    silent = held < free
    return (
        torch.stack(
            [
                apart.clamp(min=0).sum(dim=1),
                apart.clamp(max=0).sum(dim=1),
                joint.masked_fill(silent, 0).sum(dim=1),
                torch.minimum(free, held).sum(dim=1) / 2,
                silent.sum(dim=1).to(ratio.dtype),
            ]
        )
        / partners
    )


def pairwise_loss(
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    loss_mask: Tensor,
    sequences: Sequences,
    coefficients: PairCoefficients,
    *,
    clip: float,
    joint: bool,
    token_mean: bool,
) -> TokenLoss:
    """P3O's loss, the sequence's ``-J_i`` on each of its tokens: needs ``sequence_mean``.

    Sequence ratios grow with length: long completions clip at once. ``token_mean`` takes the mean
    instead of the sum of the log ratios, GSPO's remedy; it divides a sequence's gradient by its
    length.

    Args:
        policy_logprobs: [tokens] float32 nats, current weights, carries the gradient.
        old_logprobs: [tokens] float32 nats, weights at the start of the step, no gradient.
        loss_mask: [tokens] bool; other positions may hold anything, NaN included.
        sequences: Which token belongs to which sequence.
        coefficients: [sequences] of ``pair_coefficients`` for these sequences.
        clip: As given to ``pair_coefficients``.
        joint: V2 if True, else V1.
        token_mean: Length-normalise the ratios, here as in the log ratios given before.

    Raises:
        ShapeError: If the tensors differ in shape.
    """
    checked_shapes(
        "pairwise_loss",
        policy_logprobs=policy_logprobs,
        old_logprobs=old_logprobs,
        loss_mask=loss_mask,
        sequence_ids=sequences.ids,
    )
    log_ratio = sequence_log_ratios(
        policy_logprobs, old_logprobs, loss_mask, sequences, token_mean=token_mean
    )
    if joint:
        # The value of J and the gradient of its unclipped pairs.
        gain = coefficients.value + coefficients.slope * (log_ratio - log_ratio.detach())
        clipped = coefficients.clipped > 0
    else:
        # Bounded or left out before exp: the gradient of 0 times infinity would be NaN.
        loses = coefficients.down < 0
        ratio = torch.where(loses, log_ratio, 0.0).exp()
        gain = coefficients.up * log_ratio.clamp(max=math.log1p(clip)).exp()
        gain = gain + coefficients.down * ratio.clamp(min=1 - clip)
        clipped = (log_ratio > math.log1p(clip)) & (coefficients.up > 0)
        clipped |= loses & (ratio < 1 - clip)
    return TokenLoss(
        values=masked(loss_mask, -gain[sequences.ids]),
        clipped=clipped[sequences.ids] & loss_mask,
    )


def sequence_log_ratios(
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    loss_mask: Tensor,
    sequences: Sequences,
    *,
    token_mean: bool,
) -> Tensor:
    """[sequences] log of policy(y) / old(y), or its mean over tokens; gradient of the first."""
    gap = masked(loss_mask, policy_logprobs) - masked(loss_mask, old_logprobs.detach())
    return sequences.means(gap, loss_mask) if token_mean else sequences.sums(gap)
