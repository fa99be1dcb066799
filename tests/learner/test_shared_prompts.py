"""Sequences behind one copy of their prompt: the same gradient for fewer tokens."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from test_deepspeed_learner import (
    MODEL,
    SECTION,
    gradients,
    make_learner,
    plain_gradients,
    relative_gap,
)

from rlreason.cluster.inline import prepare_process
from rlreason.config import ClusterSection
from rlreason.learner.policy import load_model, max_shared_row
from rlreason.types import TrainBatch, TrainSequence


@pytest.fixture(scope="module", autouse=True)
def _process() -> None:
    prepare_process(ClusterSection(threads=1))


def make_groups(lengths: Sequence[Sequence[int]]) -> TrainBatch:
    """Per group, sequences of one prompt of 20 tokens with completions of these lengths."""
    generator = torch.Generator().manual_seed(1)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 60, (count,), generator=generator).tolist())

    sequences = []
    for group in lengths:
        prompt = tokens(20)
        for index, length in enumerate(group):
            mask = (False,) * 20 + (True,) * length
            sequences.append(
                TrainSequence(
                    token_ids=prompt + tokens(length),
                    loss_mask=mask,
                    advantages=tuple((-1.0) ** index * (1 + index / 10) * m for m in mask),
                    rollout_logprobs=None,
                )
            )
    return TrainBatch(sequences=tuple(sequences), num_loss_tokens=sum(map(sum, lengths)))


@pytest.mark.parametrize("budget", [60, 100_000])
def test_shared_prompts_change_no_gradient(budget: int) -> None:
    # Rows of at most 64 tokens, the model's width: several sequences each, and one alone.
    batch = make_groups([[4, 9, 2, 7], [8, 1, 30, 3, 5], [12, 12], [50]])
    learner = make_learner(tokens_per_microbatch=budget)
    plan = learner._microbatches(batch)
    shared = [microbatch.position_ids is not None for microbatch in plan]
    assert any(shared)
    assert not all(shared)
    assert sum(microbatch.num_tokens for microbatch in plan) < 0.8 * sum(
        len(sequence.token_ids) for sequence in batch.sequences
    )
    assert relative_gap(gradients(learner, batch), plain_gradients(batch)) < 1e-6


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "eager"},  # takes no mask of booleans
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"sliding_window": 128},
        {"rope_parameters": None},
    ],
)
def test_a_model_that_cannot_take_a_mask_of_its_own_shares_no_prompt(
    changes: dict[str, Any],
) -> None:
    section = SECTION.model_copy(update={"attention": changes.get("attention", "sdpa")})
    config = load_model(MODEL, section).config
    for name, value in changes.items():
        if name != "attention":
            setattr(config, name, value)
    assert max_shared_row(config) == 0
    assert max_shared_row(load_model(MODEL, SECTION).config) == 64
