"""Values and gradients against TRL's own loss, where TRL is installed (the dev extra brings it).

GRPOTrainer's ``_compute_loss`` runs on random batches; only its forward pass is replaced by given
logprobs. What differs by convention is in the columns of ``CASES``.
"""

import functools
from collections import defaultdict
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from rlreason.algorithms.aggregation import AGGREGATIONS, Denominators
from rlreason.algorithms.kl import kl_per_token
from rlreason.algorithms.losses import LOSSES, LossInput
from rlreason.algorithms.offpolicy import importance_weights
from rlreason.algorithms.sequences import Sequences
from rlreason.config import AlgorithmSection

import_utils = pytest.importorskip("trl.import_utils", reason="TRL comes with the dev extra")
LIMIT = 12
"""Both sides' completion limit."""


class Case(NamedTuple):
    """The same loss in the words of both."""

    ours: dict[str, Any]
    theirs: dict[str, Any]


CASES = {
    "grpo": Case({"aggregation": "sequence_mean"}, {"loss_type": "grpo"}),
    "dapo": Case({"clip_high": 0.28}, {"loss_type": "dapo", "epsilon_high": 0.28}),
    "dr_grpo": Case(
        {"aggregation": "constant", "tokens_per_sequence": LIMIT}, {"loss_type": "dr_grpo"}
    ),
    # TRL's delta caps the ratio of positive advantages too, where the clip has cut lower already.
    "dual clip": Case({"dual_clip": 1.4}, {"loss_type": "dapo", "delta": 1.4}),
    # TRL's epsilon_high is the cap of the weight itself, and there is no lower one.
    "cispo": Case(
        {"loss": "cispo", "clip_low": 1.0, "clip_high": 0.1},
        {"loss_type": "cispo", "epsilon_high": 1.1},
    ),
    "gspo": Case(
        {"loss": "gspo", "aggregation": "sequence_mean", "clip_low": 0.1, "clip_high": 0.15},
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon_low": 0.1,
            "epsilon_high": 0.15,
        },
    ),
    # TRL takes the bounds one by one; ours are a cap and its inverse.
    **{
        f"correction {name}": Case(
            {"correction": name, "importance_cap": 1.3},
            {"loss_type": "dapo", "vllm_importance_sampling_mode": name},
        )
        for name in ("token_truncated", "token_masked", "sequence_truncated", "sequence_masked")
    },
    # TRL has k3 alone, weighed as the loss is.
    "kl": Case({"kl": 0.3}, {"loss_type": "dapo", "beta": 0.3}),
    "kl per sequence": Case(
        {"kl": 0.3, "aggregation": "sequence_mean"}, {"loss_type": "grpo", "beta": 0.3}
    ),
}


class Padded(NamedTuple):
    """[batch, seq] as TRL holds it."""

    policy: Tensor
    old: Tensor
    rollout: Tensor
    reference: Tensor
    mask: Tensor
    advantages: Tensor


def random_batch(seed: int) -> Padded:
    generator = torch.Generator().manual_seed(seed)
    base, drift, engine, reference = (
        torch.randn(6, LIMIT, generator=generator, dtype=torch.float64) for _ in range(4)
    )
    lengths = torch.randint(1, LIMIT + 1, (6, 1), generator=generator)
    return Padded(
        policy=base + 0.25 * drift,
        old=base,
        rollout=base - 0.2 * engine,
        reference=base + 0.5 * reference,
        mask=torch.arange(LIMIT)[None] < lengths,
        advantages=torch.randn(6, generator=generator, dtype=torch.float64),
    )


@functools.cache
def trainer_class() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        # The import of vLLM takes most of the time, and its part is not called.
        patch.setattr(import_utils, "is_vllm_available", lambda *_, **__: False)
        from trl import GRPOTrainer

        return GRPOTrainer


def theirs(batch: Padded, policy: Tensor, options: dict[str, Any]) -> Tensor:
    """GRPOTrainer._compute_loss on ``policy``; one process, one micro-batch."""
    trainer = object.__new__(trainer_class())
    given = {
        "importance_sampling_level": "token",
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "beta": 0.0,
        "delta": None,
    } | options
    entropies = torch.zeros_like(policy)
    correction = given.get("vllm_importance_sampling_mode")
    attributes = {
        **{key: given[key] for key in ("loss_type", "importance_sampling_level", "beta")},
        "epsilon_low": given["epsilon_low"],
        "epsilon_high": given["epsilon_high"],
        "args": SimpleNamespace(
            delta=given["delta"], steps_per_generation=1, use_bias_correction_kl=False
        ),
        "aux_loss_enabled": False,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "use_vllm": correction is not None,
        "vllm_importance_sampling_correction": True,
        "model": SimpleNamespace(training=True),
        "current_gradient_accumulation_steps": 1,
        "accelerator": SimpleNamespace(
            num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x
        ),
        "max_completion_length": LIMIT,
        "_entropy_bonus_enabled": False,
        "_metrics": {"train": defaultdict(list)},
        "_get_per_token_logps_and_entropies": lambda *_, **__: (policy, entropies, None),
    }
    for name, value in attributes.items():
        object.__setattr__(trainer, name, value)
    ids = torch.zeros(6, LIMIT, dtype=torch.int64)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": ids[:, :1],
        "completion_ids": ids,
        "completion_mask": batch.mask.to(policy.dtype),
        "advantages": batch.advantages,
        "old_per_token_logps": batch.old,
        "ref_per_token_logps": batch.reference,
        "num_items_in_batch": batch.mask.sum(),
    }
    if correction is not None:
        inputs["importance_sampling_ratio"] = their_ratio(batch, correction)
    loss: Tensor = trainer._compute_loss(None, inputs)
    return loss


def their_ratio(batch: Padded, correction: str) -> Tensor:
    """TRL computes it inside its sampling, which cannot be called alone: its lines, cap 1.3."""
    difference = (batch.old - batch.rollout) * batch.mask
    if correction.startswith("sequence"):
        difference = difference.sum(dim=-1, keepdim=True)
    ratio = torch.exp(difference)
    if correction.endswith("truncated"):
        return torch.clamp(ratio, min=None, max=1.3)
    return ratio.masked_fill((ratio < 1 / 1.3) | (ratio > 1.3), value=0.0)


def ours(batch: Padded, policy: Tensor, options: dict[str, Any]) -> Tensor:
    section, mask = AlgorithmSection.model_validate(options), batch.mask
    ids = torch.arange(6).repeat_interleave(mask.sum(dim=1))
    sequences = Sequences(ids, 6)
    flat, old, rollout = policy[mask], batch.old[mask], batch.rollout[mask]
    everything = torch.ones_like(ids, dtype=torch.bool)
    given = LossInput(flat, old, batch.advantages[ids], everything, sequences)
    values = LOSSES[section.loss].per_token(given, section).values
    if section.correction is not None:
        assert section.importance_cap is not None
        values = (
            values
            * importance_weights(
                old,
                rollout,
                sequences,
                correction=section.correction,
                cap=section.importance_cap,
            ).weights
        )
    if section.kl:
        values = values + section.kl * kl_per_token(flat, batch.reference[mask], "k3")
    return AGGREGATIONS[section.aggregation](
        values,
        loss_mask=everything,
        sequences=sequences,
        denominators=Denominators(len(ids), 6),
        options=section,
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", range(5))
def test_value_and_gradient_are_those_of_trl(name: str, seed: int) -> None:
    batch, case = random_batch(seed), CASES[name]
    results = []
    for function, options in ((ours, case.ours), (theirs, case.theirs)):
        policy = batch.policy.clone().requires_grad_()
        loss = function(batch, policy, options)
        loss.backward()
        results.append((loss.detach(), policy.grad))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-6, rtol=1e-6)


def test_the_comparison_would_see_a_difference() -> None:
    batch = random_batch(0)
    one = ours(batch, batch.policy, {"clip_high": 0.28})
    other = theirs(batch, batch.policy, {"loss_type": "dapo", "epsilon_high": 0.2})
    assert abs(float(one - other)) > 1e-3
