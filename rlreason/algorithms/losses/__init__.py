"""Losses of tokens. ``algorithm.loss`` names one of ``LOSSES``.

Pure functions of tensors; no model, no distributed calls. Each returns a value for every loss
token; ``aggregation.py`` makes one number of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.algorithms.losses.clipped import cispo_loss, clipped_loss
from rlreason.algorithms.losses.distillation import distillation_loss
from rlreason.algorithms.losses.gspo import gspo_loss
from rlreason.algorithms.losses.log_likelihood import log_likelihood_loss
from rlreason.algorithms.losses.pairwise import (
    PairCoefficients,
    pair_coefficients,
    pairwise_loss,
    sequence_log_ratios,
)
from rlreason.algorithms.losses.token_loss import TokenLoss
from rlreason.algorithms.sequences import Sequences
from rlreason.config import AlgorithmSection
from rlreason.errors import ShapeError

__all__ = [
    "LOSSES",
    "Loss",
    "LossInput",
    "TokenLoss",
    "cispo_loss",
    "clipped_loss",
    "distillation_loss",
    "gspo_loss",
    "log_likelihood_loss",
    "pair_coefficients",
    "pairwise_loss",
    "sequence_log_ratios",
]


class LossInput(NamedTuple):
    """What a loss may look at: the loss tokens of one micro-batch, flat."""

    policy_logprobs: Tensor
    """[tokens] nats, carries the gradient."""
    old_logprobs: Tensor
    """[tokens] nats of the weights at the start of the step."""
    advantages: Tensor
    """[tokens]."""
    loss_mask: Tensor
    """[tokens] bool."""
    sequences: Sequences
    teacher_logprobs: Tensor | None = None
    """[tokens] nats; None without a teacher."""
    coupling: Tensor | None = None
    """[k, sequences] what ``Loss.couple`` made of the whole update; None where it has none."""


class Loss(NamedTuple):
    """A loss and what the loop must know of it."""

    per_token: Callable[[LossInput, AlgorithmSection], TokenLoss]
    reads_advantages: bool = True
    """True: a sequence whose advantages are all 0 has no gradient and need not be computed."""
    reads_old: bool = True
    """Whether later updates of a step need the logprobs of the weights at its start."""
    imitates: bool = False
    """Advantages are weights of texts to imitate: what has weight 0 is in no denominator."""
    couple: Callable[[Tensor, Tensor, Tensor, AlgorithmSection], Tensor] | None = None
    """(log_ratios, advantages, groups) of all sequences of an update -> [k, sequences] without
    gradient, for losses in which sequences of different micro-batches meet."""


def _clipped(given: LossInput, options: AlgorithmSection) -> TokenLoss:
    return clipped_loss(
        *given[:4],
        clip_low=options.clip_low,
        clip_high=options.clip_high,
        dual_clip=options.dual_clip,
    )


def _cispo(given: LossInput, options: AlgorithmSection) -> TokenLoss:
    return cispo_loss(*given[:4], clip_low=options.clip_low, clip_high=options.clip_high)


def _gspo(given: LossInput, options: AlgorithmSection) -> TokenLoss:
    return gspo_loss(*given[:5], clip_low=options.clip_low, clip_high=options.clip_high)


def _log_likelihood(given: LossInput, _: AlgorithmSection) -> TokenLoss:
    return log_likelihood_loss(given.policy_logprobs, given.advantages, given.loss_mask)


def _distillation(given: LossInput, options: AlgorithmSection) -> TokenLoss:
    if given.teacher_logprobs is None:
        raise ShapeError("loss distillation needs the teacher's logprobs")
    return distillation_loss(
        given.policy_logprobs,
        given.old_logprobs,
        given.teacher_logprobs,
        given.loss_mask,
        clip_low=options.clip_low,
        clip_high=options.clip_high,
    )


def _pairwise(given: LossInput, options: AlgorithmSection) -> TokenLoss:
    if given.coupling is None:
        raise ShapeError(f"loss {options.loss} needs the pair coefficients of the whole update")
    return pairwise_loss(
        given.policy_logprobs,
        given.old_logprobs,
        given.loss_mask,
        given.sequences,
        PairCoefficients(*given.coupling),
        clip=options.clip_high,
        joint=options.loss == "p3o_joint",
        token_mean=options.pair_ratio == "token_mean",
    )


def _couple(
    log_ratios: Tensor, advantages: Tensor, groups: Tensor, options: AlgorithmSection
) -> Tensor:
    return torch.stack(pair_coefficients(log_ratios, advantages, groups, clip=options.clip_high))


LOSSES: dict[str, Loss] = {
    "clipped": Loss(_clipped),
    "cispo": Loss(_cispo),
    "gspo": Loss(_gspo),
    "p3o": Loss(_pairwise, couple=_couple),
    "p3o_joint": Loss(_pairwise, couple=_couple),
    "reinforce": Loss(_log_likelihood, reads_old=False),
    "likelihood": Loss(_log_likelihood, reads_old=False, imitates=True),
    "distillation": Loss(_distillation, reads_advantages=False),
}
"""What ``algorithm.loss`` may name."""
