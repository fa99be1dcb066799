"""Whether a sample was made by the weights that are about to learn from it."""

from __future__ import annotations

import torch

from rlreason.errors import StalePolicyError

MISMATCH_LIMITS = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Mean |learner - rollout logprob| above which the sample is not of these weights. On equal
weights vLLM and transformers differ by 2e-7 to 6e-6 in float32 and 7e-4 to 0.04 in bfloat16."""


def refuse_stale(gap: float, *, step: int, limit: float) -> None:
    """Stop before the optimizer moves if these weights did not make the sample.

    Args:
        gap: Mean absolute gap between the learner's logprobs and the sampled ones, nats. A NaN is
            not stale: the update is skipped as non-finite instead.
        step: The step that would learn.
        limit: Largest gap of equal weights.

    Raises:
        StalePolicyError: If the gap is larger.
    """
    if gap > limit:
        raise StalePolicyError(
            f"step {step}: rollout logprobs differ from the learner's by {gap:.2e} nats on "
            f"average (limit {limit:.1e}): the engine did not sample from the learner's "
            f"weights of version {step}. Nothing was learned from this step. Check the weight "
            "publication (tied embeddings, a changed vLLM version), or raise "
            "learner.mismatch_limit if the two forwards are known to differ that much"
        )
