"""Losses without a ratio: REINFORCE, and the imitation of accepted or given completions."""

from __future__ import annotations

from torch import Tensor

from rlreason.algorithms.losses.token_loss import TokenLoss, checked_shapes, masked


def log_likelihood_loss(policy_logprobs: Tensor, weights: Tensor, loss_mask: Tensor) -> TokenLoss:
    """``loss_t = -weights_t * policy_logprobs_t``.

    With advantages as weights this is REINFORCE (Williams 1992): the gradient of ``clipped`` at
    the first update of a step; later updates have no correction. With weights of 1 on accepted
    completions and 0 elsewhere it is RAFT and rejection-sampling fine-tuning, with 1 everywhere
    supervised fine-tuning on given texts, critiques (CFT) among them: then the value is the
    negative log-likelihood per token.

    Args:
        policy_logprobs: [...] float32 nats, current weights, carries the gradient.
        weights: [...] float32, no gradient.
        loss_mask: [...] bool; other positions may hold anything, NaN included.

    Raises:
        ShapeError: If the tensors differ in shape.
    """
    checked_shapes(
        "log_likelihood_loss", policy_logprobs=policy_logprobs, weights=weights, loss_mask=loss_mask
    )
    values = -masked(loss_mask, weights.detach()) * masked(loss_mask, policy_logprobs)
    return TokenLoss(values=values, clipped=loss_mask & False)
