"""Corrects for a sampler whose probabilities are not the learner's on the same weights.

Engine and learner compute with other kernels and other precision, and may sample from a cut-off
distribution (top-p). The ratio of their probabilities is the importance weight that makes the
gradient right on average; bounding it keeps the variance finite at the price of a bias.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.algorithms.sequences import Sequences
from rlreason.config import Correction


class Corrected(NamedTuple):
    """Importance weights and where the bound changed them. No gradient."""

    weights: Tensor
    """[tokens] float32, >= 0."""
    bounded: Tensor
    """[tokens] bool."""


def importance_weights(
    old_logprobs: Tensor,
    rollout_logprobs: Tensor,
    sequences: Sequences,
    *,
    correction: Correction,
    cap: float,
) -> Corrected:
    """Weights that the loss of each token is multiplied with.

        w_t = exp(old_logprobs_t - rollout_logprobs_t)           of a token
        W   = exp(sum over the sequence of the same differences)   of a sequence

        token_truncated     min(w_t, cap)                          truncated importance sampling
        sequence_truncated  min(W, cap) on every token
        token_masked        w_t where 1/cap <= w_t <= cap, else 0
        sequence_masked     W where 1/cap <= W <= cap, else 0 on every token

    A sequence's weight is unbiased but grows with length; a token's ignores how the prefix came
    about. Truncating keeps every token; masking drops what is too far off to be trusted.

    Args:
        old_logprobs: [tokens] nats of the learner, weights at the start of the step.
        rollout_logprobs: [tokens] nats that the engine sampled with.
        sequences: Which token belongs to which sequence.
        correction: Which of the four.
        cap: Bound of the weight, >= 1.
    """
    gap = (old_logprobs - rollout_logprobs).detach()
    if correction in ("sequence_truncated", "sequence_masked"):
        gap = sequences.sums(gap)[sequences.ids]
    ratio = gap.exp()
    if correction in ("token_truncated", "sequence_truncated"):
        return Corrected(ratio.clamp(max=cap), ratio > cap)
    outside = (ratio > cap) | (ratio < 1 / cap)
    return Corrected(torch.where(outside, 0.0, ratio), outside)
