"""Per-token training losses. Pure functions of tensors; no model, no distributed calls.

All of them average over tokens: they are divided by ``num_loss_tokens``, the loss tokens of the
whole update over all micro-batches and ranks, so the gradient does not depend on the split.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.errors import ShapeError


class PolicyLoss(NamedTuple):
    """What a policy loss returns. Both add up over the micro-batches of an update."""

    loss: Tensor
    """[] scalar to call ``backward`` on."""
    clip_frac: Tensor
    """[] share of loss tokens whose gradient the clip removed."""


def clipped_policy_loss(
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    num_loss_tokens: int,
    importance_weights: Tensor | None = None,
) -> PolicyLoss:
    """PPO's clipped surrogate, averaged over tokens (not over sequences).

        r_t    = exp(policy_logprobs_t - old_logprobs_t)
        loss_t = -w_t * min(r_t * A_t, clamp(r_t, 1 - clip_low, 1 + clip_high) * A_t)
        loss   = sum over loss_mask of loss_t / num_loss_tokens

    ``clip_low == clip_high`` is PPO (arXiv:1707.06347) and GRPO; ``clip_high > clip_low`` is
    DAPO's clip-higher (arXiv:2503.14476). At the first update of a step r_t = 1 and this is
    REINFORCE. w_t is 1 without ``importance_weights``.

    Args:
        policy_logprobs: [...] float32 nats, current weights, carries the gradient.
        old_logprobs: [...] float32 nats, weights at the start of the step, no gradient.
        advantages: [...] float32, no gradient.
        loss_mask: [...] bool, True on loss tokens. Other positions may hold anything, NaN
            included: they reach neither the loss nor the gradient.
        clip_low: Trust region below 1, in [0, 1).
        clip_high: Trust region above 1, >= 0.
        num_loss_tokens: Loss tokens over all micro-batches and all ranks of the update.
        importance_weights: [...] float32, no gradient; corrects for the sampler.

    Raises:
        ShapeError: If the tensors differ in shape.
    """
    weights = torch.ones_like(advantages) if importance_weights is None else importance_weights
    shapes = {
        "policy_logprobs": tuple(policy_logprobs.shape),
        "old_logprobs": tuple(old_logprobs.shape),
        "advantages": tuple(advantages.shape),
        "loss_mask": tuple(loss_mask.shape),
        "importance_weights": tuple(weights.shape),
    }
    if len(set(shapes.values())) != 1:
        raise ShapeError(f"clipped_policy_loss needs equal shapes, got {shapes}")

    # Replace masked entries before exp(): 0 * inf would be NaN, in the loss and in its gradient.
    zero = torch.zeros((), dtype=policy_logprobs.dtype, device=policy_logprobs.device)
    log_ratio = torch.where(loss_mask, policy_logprobs - old_logprobs.detach(), zero)
    advantage = torch.where(loss_mask, (advantages * weights).detach(), zero)

    ratio = log_ratio.exp()
    unclipped = ratio * advantage
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantage
    loss = -torch.minimum(unclipped, clipped).sum() / num_loss_tokens

    clip_frac = (clipped < unclipped).sum() / num_loss_tokens
    return PolicyLoss(loss=loss, clip_frac=clip_frac.detach())


def truncated_importance_weights(
    policy_logprobs: Tensor, rollout_logprobs: Tensor, cap: float
) -> Tensor:
    """``w_t = min(exp(policy_logprobs_t - rollout_logprobs_t), cap)``, no gradient.

    Corrects per token for a sampler whose probabilities differ from the learner's on the same
    weights (kernels, precision): truncated importance sampling.

    Args:
        policy_logprobs: [...] float32 nats, weights at the start of the step.
        rollout_logprobs: [...] float32 nats that the engine sampled with.
        cap: Largest weight, > 0.

    Returns:
        [...] float32 in (0, cap].
    """
    return (policy_logprobs - rollout_logprobs).detach().exp().clamp(max=cap)
