"""From scored groups to what the learner computes on: updates, then micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.types import ScoredGroup, TrainBatch, TrainSequence


def make_train_batches(
    scored: Sequence[ScoredGroup], *, updates: int, keep_without_signal: bool = False
) -> list[TrainBatch]:
    """Split a step's groups into at most ``updates`` batches, one optimizer update each.

    Groups without signal are left out: their policy gradient is exactly zero. Their tokens stay in
    the denominator, so leaving them out changes nothing but the time. A KL or entropy term makes
    their gradient non-zero: then ``keep_without_signal``. Completions with a scorer fault
    (``infra``) are in neither. An update in which no group is left is dropped.

    Args:
        scored: The step's groups, in slot order.
        updates: Optimizer updates per step; the groups are dealt in contiguous, near-equal runs.
        keep_without_signal: Keep groups whose advantages are all zero.
    """
    batches = []
    for run in _deal(scored, updates):
        num_loss_tokens = sum(
            len(rollout.completion_ids)
            for group in run
            for rollout, counted in zip(group.group.rollouts, group.counted, strict=True)
            if counted
        )
        kept = [group for group in run if keep_without_signal or group.has_signal]
        sequences = tuple(sequence for group in kept for sequence in _sequences(group))
        if sequences:
            batches.append(TrainBatch(sequences=sequences, num_loss_tokens=num_loss_tokens))
    return batches


def _deal(groups: Sequence[ScoredGroup], runs: int) -> list[Sequence[ScoredGroup]]:
    bounds = [round(i * len(groups) / runs) for i in range(runs + 1)]
    return [groups[start:stop] for start, stop in pairwise(bounds)]


def _sequences(group: ScoredGroup) -> list[TrainSequence]:
    sequences = []
    for rollout, advantage, counted in zip(
        group.group.rollouts, group.advantages, group.counted, strict=True
    ):
        if not counted:
            continue
        prompt, completion = rollout.prompt_ids, rollout.completion_ids
        sequences.append(
            TrainSequence(
                token_ids=prompt + completion,
                loss_mask=(False,) * len(prompt) + (True,) * len(completion),
                advantages=(0.0,) * len(prompt) + (advantage,) * len(completion),
                rollout_logprobs=(0.0,) * len(prompt) + rollout.rollout_logprobs,
            )
        )
    return sequences


def split_by_tokens(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of micro-batches whose padded size, count x longest, stays within ``budget``.

    Sorted by length, so little is padded. A sequence longer than the budget stands alone.
    Longest first: a run that does not fit in memory fails at its first micro-batch.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    microbatches: list[list[int]] = []
    for index in order:
        current = microbatches[-1] if microbatches else []
        # The first of a micro-batch is its longest.
        if current and (len(current) + 1) * lengths[current[0]] <= budget:
            current.append(index)
        else:
            microbatches.append([index])
    return microbatches


class MicroBatch(NamedTuple):
    """Padded input of one forward, and the loss tokens in it, flattened."""

    input_ids: Tensor
    """[batch, seq] int64, right-padded with 0."""
    attention_mask: Tensor
    """[batch, seq] int64, 1 on real tokens."""
    predicts: Tensor
    """[batch, seq] bool, True at position t where token t + 1 is a loss token."""
    targets: Tensor
    """[tokens] int64, the loss tokens in row-major order of ``predicts``."""
    advantages: Tensor
    """[tokens] float32."""
    rollout_logprobs: Tensor | None
    """[tokens] float32 nats; None where nothing was sampled."""


def collate(sequences: Sequence[TrainSequence], device: torch.device) -> MicroBatch:
    """Pad ``sequences`` to the longest of them and flatten what the loss counts."""
    longest = max(len(sequence.token_ids) for sequence in sequences)
    shape = (len(sequences), longest)
    input_ids, attention_mask = torch.zeros(2, *shape, dtype=torch.int64)
    loss_mask = torch.zeros(shape, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        length = len(sequence.token_ids)
        input_ids[row, :length] = torch.tensor(sequence.token_ids)
        attention_mask[row, :length] = 1
        loss_mask[row, :length] = torch.tensor(sequence.loss_mask)
    predicts = torch.zeros_like(loss_mask)
    predicts[:, :-1] = loss_mask[:, 1:]
    return MicroBatch(
        input_ids=input_ids.to(device),
        attention_mask=attention_mask.to(device),
        predicts=predicts.to(device),
        targets=input_ids[loss_mask].to(device),
        advantages=_loss_values(sequences, "advantages", device),
        rollout_logprobs=(
            None
            if any(sequence.rollout_logprobs is None for sequence in sequences)
            else _loss_values(sequences, "rollout_logprobs", device)
        ),
    )


def _loss_values(sequences: Sequence[TrainSequence], field: str, device: torch.device) -> Tensor:
    values = [
        value
        for sequence in sequences
        for value, counted in zip(getattr(sequence, field), sequence.loss_mask, strict=True)
        if counted
    ]
    return torch.tensor(values, dtype=torch.float32, device=device)
