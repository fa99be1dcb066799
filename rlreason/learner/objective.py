"""The loss of one micro-batch: policy term, KL term, entropy bonus, and the measurements."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.algorithms.batching import MicroBatch
from rlreason.algorithms.kl import kl_per_token
from rlreason.algorithms.losses import clipped_policy_loss, truncated_importance_weights
from rlreason.config import AlgorithmSection


class Sums(NamedTuple):
    """Sums over loss tokens; they add up over micro-batches."""

    loss: Tensor
    """[] already divided by the update's num_loss_tokens, so it adds up to the loss itself."""
    tokens: Tensor
    """[] loss tokens computed."""
    entropy: Tensor
    clip: Tensor
    mismatch_kl: Tensor
    mismatch_abs: Tensor
    kl: Tensor

    @classmethod
    def zero(cls, device: torch.device) -> Sums:
        """The neutral element."""
        return cls(*torch.zeros(len(cls._fields), dtype=torch.float64, device=device))

    def plus(self, other: Sums) -> Sums:
        """Field by field."""
        return Sums(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def microbatch_loss(
    batch: MicroBatch,
    policy_logprobs: Tensor,
    entropies: Tensor,
    *,
    algorithm: AlgorithmSection,
    num_loss_tokens: int,
    old_logprobs: Tensor | None = None,
    reference_logprobs: Tensor | None = None,
) -> tuple[Tensor, Sums]:
    """Loss to call backward on, and the sums of the log.

    Args:
        batch: The micro-batch; its per-token fields are flat, [tokens].
        policy_logprobs: [tokens] float32 nats with gradient.
        entropies: [tokens] float32 nats, with gradient if an entropy bonus is asked for.
        algorithm: Which terms, and their constants.
        num_loss_tokens: Loss tokens of the whole update.
        old_logprobs: [tokens] nats of the weights at the start of the step; None when those are
            the current weights (the first update of a step), which saves a forward pass.
        reference_logprobs: [tokens] nats of the frozen reference; None without a KL term.

    Returns:
        ([] loss, sums without gradient).
    """
    current = policy_logprobs.detach()
    old = current if old_logprobs is None else old_logprobs
    gap, weights = _sampler_gap(batch, old, algorithm.importance_cap)
    policy = clipped_policy_loss(
        policy_logprobs,
        old,
        batch.advantages,
        torch.ones_like(batch.targets, dtype=torch.bool),
        clip_low=algorithm.clip_low,
        clip_high=algorithm.clip_high,
        num_loss_tokens=num_loss_tokens,
        importance_weights=weights,
    )
    loss = policy.loss
    kl = torch.zeros_like(current)
    if reference_logprobs is not None:
        kl = kl_per_token(policy_logprobs, reference_logprobs, algorithm.kl_estimator)
        loss = loss + algorithm.kl * kl.sum() / num_loss_tokens
    if algorithm.entropy_bonus:
        loss = loss - algorithm.entropy_bonus * entropies.sum() / num_loss_tokens
    sums = Sums(
        loss=loss,
        tokens=torch.tensor(len(current), device=current.device),
        entropy=entropies.sum(),
        clip=policy.clip_frac * num_loss_tokens,
        mismatch_kl=(torch.expm1(gap) - gap).sum(),
        mismatch_abs=gap.abs().sum(),
        kl=kl.sum(),
    )
    return loss, Sums(*(value.detach().double() for value in sums))


def _sampler_gap(batch: MicroBatch, old: Tensor, cap: float | None) -> tuple[Tensor, Tensor | None]:
    """Learner minus rollout logprob per token, and the weights that correct for it if asked."""
    if batch.rollout_logprobs is None:
        return torch.zeros_like(old), None
    gap = old - batch.rollout_logprobs
    if cap is None:
        return gap, None
    return gap, truncated_importance_weights(old, batch.rollout_logprobs, cap)
