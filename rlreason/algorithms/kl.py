"""Per-token estimators of KL(policy, reference) from samples of the policy.

With d = reference_logprob - policy_logprob at the sampled token (John Schulman's notes):

    k1 = -d                 unbiased, high variance, negative at times
    k2 = d^2 / 2            biased, low variance
    k3 = exp(d) - 1 - d     unbiased, low variance, never negative
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

KlEstimator = Literal["k1", "k2", "k3"]


def kl_per_token(
    policy_logprobs: Tensor, reference_logprobs: Tensor, estimator: KlEstimator
) -> Tensor:
    """Estimate KL(policy, reference) at each token.

    Args:
        policy_logprobs: [tokens] float32 nats of the sampled tokens; gradient flows through it.
        reference_logprobs: [tokens] float32 nats of the same tokens, no gradient.
        estimator: Which of the three.

    Returns:
        [tokens] nats.
    """
    gap = reference_logprobs.detach() - policy_logprobs
    if estimator == "k1":
        return -gap
    if estimator == "k2":
        return gap.square() / 2
    return torch.expm1(gap) - gap
