"""PPO's clipped surrogate and its kin with a ratio for each token."""

from __future__ import annotations

import torch
from torch import Tensor

from rlreason.algorithms.losses.token_loss import TokenLoss, checked_shapes, masked


def clipped_loss(
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> TokenLoss:
    """PPO's clipped surrogate.

        r_t    = exp(policy_logprobs_t - old_logprobs_t)
        J_t    = min(r_t * A_t, clamp(r_t, 1 - clip_low, 1 + clip_high) * A_t)
        J_t    = max(J_t, dual_clip * A_t)          where A_t < 0, with dual_clip
        loss_t = -J_t

    ``clip_low == clip_high`` is PPO (arXiv:1707.06347) and GRPO (arXiv:2402.03300);
    ``clip_high > clip_low`` is DAPO's clip-higher (arXiv:2503.14476): unlikely tokens that did
    well may grow faster. ``dual_clip`` (arXiv:1912.09729) bounds the push against a token that
    has become far more likely, which the plain clip leaves unbounded. At the first update of a
    step r_t = 1 and this is REINFORCE.

    Args:
        policy_logprobs: [...] float32 nats, current weights, carries the gradient.
        old_logprobs: [...] float32 nats, weights at the start of the step, no gradient.
        advantages: [...] float32, no gradient.
        loss_mask: [...] bool, True on loss tokens. Other positions may hold anything, NaN
            included: they reach neither the loss nor the gradient.
        clip_low: Trust region below 1, in [0, 1].
        clip_high: Trust region above 1, >= 0.
        dual_clip: Largest ratio that a negative advantage is multiplied with, > 1 + clip_high.

    Raises:
        ShapeError: If the tensors differ in shape.
    """
    checked_shapes(
        "clipped_loss",
        policy_logprobs=policy_logprobs,
        old_logprobs=old_logprobs,
        advantages=advantages,
        loss_mask=loss_mask,
    )
    log_ratio = masked(loss_mask, policy_logprobs - old_logprobs.detach())
    return clip_surrogate(
        log_ratio.exp(),
        masked(loss_mask, advantages.detach()),
        clip_low=clip_low,
        clip_high=clip_high,
        dual_clip=dual_clip,
    )


def clip_surrogate(
    ratio: Tensor,
    advantage: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> TokenLoss:
    """The surrogate of ``clipped_loss`` for given ratios, masked already."""
    unclipped = ratio * advantage
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantage
    surrogate = torch.minimum(unclipped, clipped)
    removed = clipped < unclipped
    if dual_clip is not None:
        floor = dual_clip * advantage
        cut = (advantage < 0) & (surrogate < floor)
        surrogate, removed = torch.where(cut, floor, surrogate), removed | cut
    return TokenLoss(values=-surrogate, clipped=removed.detach())


def cispo_loss(
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> TokenLoss:
    """CISPO (MiniMax-M1, arXiv:2506.13585): the clip bounds a weight and removes no gradient.

        w_t    = clamp(exp(policy_logprobs_t - old_logprobs_t), 1 - clip_low, 1 + clip_high)
        loss_t = -sg(w_t) * A_t * policy_logprobs_t         sg: no gradient

    PPO's clip silences exactly the rare tokens that start a new line of thought; here they keep
    learning, with a bounded weight. ``clip_low = 1`` is no lower bound, as in the paper.

    Args:
        policy_logprobs: [...] float32 nats, current weights, carries the gradient.
        old_logprobs: [...] float32 nats, weights at the start of the step, no gradient.
        advantages: [...] float32, no gradient.
        loss_mask: [...] bool; other positions may hold anything, NaN included.
        clip_low: Weights are at least 1 - clip_low.
        clip_high: Weights are at most 1 + clip_high.

    Returns:
        ``clipped`` is True where the weight is not the ratio.

    Raises:
        ShapeError: If the tensors differ in shape.
    """
    checked_shapes(
        "cispo_loss",
        policy_logprobs=policy_logprobs,
        old_logprobs=old_logprobs,
        advantages=advantages,
        loss_mask=loss_mask,
    )
    logprobs = masked(loss_mask, policy_logprobs)
    ratio = masked(loss_mask, (policy_logprobs - old_logprobs).detach()).exp()
    weight = ratio.clamp(1 - clip_low, 1 + clip_high)
    advantage = masked(loss_mask, advantages.detach())
    return TokenLoss(values=-weight * advantage * logprobs, clipped=weight != ratio)
