"""On-policy distillation: the teacher judges every token of the policy's own completions."""

from __future__ import annotations

from torch import Tensor

from rlreason.algorithms.losses.clipped import clip_surrogate
from rlreason.algorithms.losses.token_loss import TokenLoss, checked_shapes, masked


def distillation_loss(
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    teacher_logprobs: Tensor,
    loss_mask: Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> TokenLoss:
    """Policy gradient of the reverse KL(policy, teacher), token by token (arXiv:2306.13649).

        A_t    = teacher_logprobs_t - old_logprobs_t        minus the k1 estimate of the KL
        r_t    = exp(policy_logprobs_t - old_logprobs_t)
        loss_t = -min(r_t * A_t, clamp(r_t, 1 - clip_low, 1 + clip_high) * A_t)

    A token that the teacher finds less likely than the policy is made rarer, by how much less.
    Reverse: it samples what the policy would say, so it is mode-seeking, and learns on its own
    mistakes. The next token alone is judged (no sum over later tokens), as is usual. At r_t = 1
    the value is the estimated KL in nats per token. Rewards and advantages play no part.

    Args:
        policy_logprobs: [...] float32 nats, current weights, carries the gradient.
        old_logprobs: [...] float32 nats, weights at the start of the step, no gradient.
        teacher_logprobs: [...] float32 nats of the same tokens at the same temperature.
        loss_mask: [...] bool; other positions may hold anything, NaN included.
        clip_low: Trust region below 1, in [0, 1].
        clip_high: Trust region above 1, >= 0.

    Raises:
        ShapeError: If the tensors differ in shape.
    """
    checked_shapes(
        "distillation_loss",
        policy_logprobs=policy_logprobs,
        old_logprobs=old_logprobs,
        teacher_logprobs=teacher_logprobs,
        loss_mask=loss_mask,
    )
    old = masked(loss_mask, old_logprobs.detach())
    advantage = masked(loss_mask, teacher_logprobs.detach()) - old
    ratio = (masked(loss_mask, policy_logprobs) - old).exp()
    return clip_surrogate(ratio, advantage, clip_low=clip_low, clip_high=clip_high)
