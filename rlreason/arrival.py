"""The proof that a policy version reached the engine, where the samples themselves cannot give it.

On-policy, every update compares the engine's logprobs with the learner's on the same tokens, which
were made by the same weights. With ``rollout.lag = 1`` the learner has moved on by then. So before
anything is sampled from a version, while the learner still holds it, the engine samples a few short
completions and the learner is asked for their logprobs. What holds for the probe holds for the
step: the engine gets no other weights before the step's sampling has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from rlreason.algorithms.batching import train_sequence
from rlreason.errors import StalePolicyError
from rlreason.run import Run
from rlreason.types import Problem

PROBES = 4
"""Completions of each engine."""
PROBE_TOKENS = 16


def prove_arrival(run: Run, version: int, problems: Sequence[Problem]) -> float:
    """Compare engine and learner on ``version``, which both hold.

    Returns:
        Mean absolute gap of their logprobs, nats.

    Raises:
        StalePolicyError: If it is larger than on equal weights, or an engine reports another
            version.
    """
    asked = list(islice(cycle(problems), PROBES * run.config.cluster.engines))
    groups = run.engine.probe(asked, version=version, tokens=PROBE_TOKENS)
    in_order = sorted(groups, key=lambda group: group.slot)
    rollouts = [rollout for group in in_order for rollout in group.rollouts]
    versions = {rollout.policy_version for rollout in rollouts}
    if versions != {version}:
        raise StalePolicyError(
            f"policy version {version} was published, but the engine reports {sorted(versions)}; "
            "nothing was sampled from it"
        )
    sequences = [train_sequence(rollout, advantage=0.0) for rollout in rollouts]
    return run.learner.check_sampler(sequences, version=version)
