"""GSPO: one ratio for each sequence, clipped as a whole."""

from __future__ import annotations

from torch import Tensor

from rlreason.algorithms.losses.clipped import clip_surrogate
from rlreason.algorithms.losses.token_loss import TokenLoss, checked_shapes, masked
from rlreason.algorithms.sequences import Sequences


def gspo_loss(
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    sequences: Sequences,
    *,
    clip_low: float,
    clip_high: float,
) -> TokenLoss:
    """Group sequence policy optimisation (arXiv:2507.18071).

        s      = exp(mean over the sequence's tokens of (policy_logprobs - old_logprobs))
        loss_t = -min(s * A_t, clamp(s, 1 - clip_low, 1 + clip_high) * A_t)

    The reward judges the sequence, so the ratio is the sequence's, length-normalised; its clip
    keeps or silences a completion whole. s moves far less than a token's ratio: the paper clips at
    3e-4 and 4e-4. Each token carries the sequence's value and its own share of the gradient (the
    paper's GSPO-token form, equal in both where a sequence has one advantage). Belongs with
    ``aggregation: sequence_mean``.

    Args:
        policy_logprobs: [tokens] float32 nats, current weights, carries the gradient.
        old_logprobs: [tokens] float32 nats, weights at the start of the step, no gradient.
        advantages: [tokens] float32, no gradient.
        loss_mask: [tokens] bool; other positions may hold anything, NaN included.
        sequences: Which token belongs to which sequence.
        clip_low: Trust region below 1, in [0, 1].
        clip_high: Trust region above 1, >= 0.

    Raises:
        ShapeError: If the tensors differ in shape.
    """
    checked_shapes(
        "gspo_loss",
        policy_logprobs=policy_logprobs,
        old_logprobs=old_logprobs,
        advantages=advantages,
        loss_mask=loss_mask,
        sequence_ids=sequences.ids,
    )
    logprobs = masked(loss_mask, policy_logprobs)
    log_ratio = logprobs.detach() - masked(loss_mask, old_logprobs.detach())
    of_sequence = sequences.means(log_ratio, loss_mask)[sequences.ids]
    ratio = (of_sequence + (logprobs - logprobs.detach())).exp()
    loss = clip_surrogate(
        ratio, masked(loss_mask, advantages.detach()), clip_low=clip_low, clip_high=clip_high
    )
    return loss._replace(clipped=loss.clipped & loss_mask)
