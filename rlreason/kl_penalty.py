"""KL to the reference as a part of the reward, instead of a term of the loss.

    kl_it  = estimator(rollout_logprob_it, reference_logprob_it)     t over the completion
    kl_i   = sum over t of kl_it                                     nats per completion
    cost_i = coefficient * kl_i            with algorithm.kl_in = reward_sum
             coefficient * kl_i / tokens_i with algorithm.kl_in = reward_mean
    reward'_i = score_i - cost_i           then the advantages, then everything else as ever

``reward_sum`` with k1 is the trajectory reward of RLHF and of P3O (arXiv:2310.00212), r - beta *
log(policy / reference): its policy gradient is that of the penalised objective. ``reward_mean``
asks the same of long completions as of short ones. One number per completion is subtracted, so all
its tokens share the penalty; none of it is propagated along the tokens.

The policy's logprobs are those that the engine sampled with, so the reference's forward is the only
one that it costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from rlreason.algorithms.batching import train_sequence
from rlreason.algorithms.kl import kl_per_token
from rlreason.config import AlgorithmSection
from rlreason.protocols import Learner
from rlreason.types import RolloutGroup, ScoredGroup


class KlPenalty(NamedTuple):
    """Per group and completion."""

    nats: list[tuple[float, ...]]
    """KL summed over the completion."""
    costs: list[tuple[float, ...]]
    """What the reward loses."""


def kl_penalty(
    learner: Learner,
    groups: Sequence[RolloutGroup],
    algorithm: AlgorithmSection,
    coefficient: float,
) -> KlPenalty:
    """One forward of the reference over the completions of ``groups``."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    sequences = [train_sequence(rollout, advantage=0.0) for rollout in rollouts]
    nats, costs = [], []
    for rollout, reference in zip(rollouts, learner.reference_logprobs(sequences), strict=True):
        policy = torch.tensor(rollout.rollout_logprobs, dtype=torch.float64)
        other = torch.tensor(reference, dtype=torch.float64)
        total = float(kl_per_token(policy, other, algorithm.kl_estimator).sum())
        nats.append(total)
        tokens = len(rollout.completion_ids) if algorithm.kl_in == "reward_mean" else 1
        costs.append(coefficient * total / tokens)
    return KlPenalty(nats=_grouped(nats, groups), costs=_grouped(costs, groups))


def measured_kl(scored: Sequence[ScoredGroup]) -> float | None:
    """Mean KL of a step in nats per token, where it was a part of the reward."""
    measured = [group for group in scored if group.reference_kl is not None]
    if not measured:
        return None
    tokens = sum(len(one.completion_ids) for group in measured for one in group.group.rollouts)
    return math.fsum(kl for group in measured for kl in group.reference_kl or ()) / tokens


def _grouped(values: Sequence[float], groups: Sequence[RolloutGroup]) -> list[tuple[float, ...]]:
    remaining = iter(values)
    return [tuple(next(remaining) for _ in group.rollouts) for group in groups]
