"""The loss of one micro-batch: policy term, KL term, entropy bonus, and the measurements."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.algorithms.aggregation import AGGREGATIONS, Denominators
from rlreason.algorithms.batching import MicroBatch
from rlreason.algorithms.kl import kl_per_token
from rlreason.algorithms.losses import LOSSES, LossInput
from rlreason.algorithms.offpolicy import importance_weights
from rlreason.config import AlgorithmSection


class Sums(NamedTuple):
    """Sums over loss tokens; they add up over micro-batches."""

    loss: Tensor
    """[] already divided by the update's denominator, so it adds up to the loss itself."""
    tokens: Tensor
    """[] loss tokens computed."""
    entropy: Tensor
    clip: Tensor
    bounded: Tensor
    """[] tokens whose importance weight the cap changed."""
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


class OtherLogprobs(NamedTuple):
    """Logprobs of the micro-batch's loss tokens under other weights, [tokens] nats each."""

    old: Tensor | None = None
    """Weights at the start of the step; None when those are the current weights (the first update
    of a step), which saves a forward pass."""
    reference: Tensor | None = None
    """The frozen reference; None without a KL term."""
    teacher: Tensor | None = None
    """The teacher of loss distillation; None without one."""


ALONE = OtherLogprobs()
"""Nothing but the current weights."""


def microbatch_loss(
    batch: MicroBatch,
    policy_logprobs: Tensor,
    entropies: Tensor,
    *,
    algorithm: AlgorithmSection,
    denominators: Denominators,
    others: OtherLogprobs = ALONE,
    coupling: Tensor | None = None,
) -> tuple[Tensor, Sums]:
    """Loss to call backward on, and the sums of the log.

    Args:
        batch: The micro-batch; its per-token fields are flat, [tokens].
        policy_logprobs: [tokens] float32 nats with gradient.
        entropies: [tokens] float32 nats, with gradient if an entropy bonus is asked for.
        algorithm: Which terms, and their constants.
        denominators: Counts over the whole update.
        others: Logprobs of the same tokens under other weights.
        coupling: [k, sequences] of ``learner.coupling``; None where the loss couples nothing.

    Returns:
        ([] loss, sums without gradient).
    """
    current = policy_logprobs.detach()
    old = current if others.old is None else others.old
    everything = torch.ones_like(batch.targets, dtype=torch.bool)
    given = LossInput(
        policy_logprobs=policy_logprobs,
        old_logprobs=old,
        advantages=batch.advantages,
        loss_mask=everything,
        sequences=batch.sequences,
        teacher_logprobs=others.teacher,
        coupling=coupling,
    )
    policy = LOSSES[algorithm.loss].per_token(given, algorithm)
    aggregate = partial(
        AGGREGATIONS[algorithm.aggregation],
        loss_mask=everything,
        sequences=batch.sequences,
        denominators=denominators,
        options=algorithm,
    )
    values, bounded = _corrected(batch, policy.values, old, algorithm)
    loss = aggregate(values)
    kl = torch.zeros_like(current)
    if others.reference is not None:
        kl = kl_per_token(policy_logprobs, others.reference, algorithm.kl_estimator)
        loss = loss + algorithm.kl * aggregate(kl)
    if algorithm.entropy_bonus:
        loss = loss - algorithm.entropy_bonus * aggregate(entropies)
    measured = Measured(policy.clipped, bounded, entropies, kl)
    return loss, _sums(loss, measured, _sampler_gap(batch, old))


class Measured(NamedTuple):
    """What the log says of each loss token, [tokens]."""

    clipped: Tensor
    bounded: Tensor
    entropies: Tensor
    kl: Tensor


def _sums(loss: Tensor, measured: Measured, gap: Tensor) -> Sums:
    sums = Sums(
        loss=loss,
        tokens=torch.tensor(len(gap), device=gap.device),
        entropy=measured.entropies.sum(),
        clip=measured.clipped.sum(),
        bounded=measured.bounded.sum(),
        mismatch_kl=(torch.expm1(gap) - gap).sum(),
        mismatch_abs=gap.abs().sum(),
        kl=measured.kl.sum(),
    )
    return Sums(*(value.detach().double() for value in sums))


def _corrected(
    batch: MicroBatch, values: Tensor, old: Tensor, algorithm: AlgorithmSection
) -> tuple[Tensor, Tensor]:
    """The policy term under importance weights, and where the cap changed them."""
    if algorithm.correction is None or batch.rollout_logprobs is None:
        return values, torch.zeros_like(values, dtype=torch.bool)
    assert algorithm.importance_cap is not None, "checked by AlgorithmSection"
    corrected = importance_weights(
        old,
        batch.rollout_logprobs,
        batch.sequences,
        correction=algorithm.correction,
        cap=algorithm.importance_cap,
    )
    return values * corrected.weights, corrected.bounded


def _sampler_gap(batch: MicroBatch, old: Tensor) -> Tensor:
    """Learner minus rollout logprob per token, nats."""
    if batch.rollout_logprobs is None:
        return torch.zeros_like(old)
    return old - batch.rollout_logprobs
