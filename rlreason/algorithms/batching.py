"""From scored groups to what the learner computes on: updates, then micro-batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.algorithms.losses import LOSSES
from rlreason.algorithms.sequences import Sequences
from rlreason.config import AlgorithmSection
from rlreason.types import Rollout, ScoredGroup, TrainBatch, TrainSequence

Row = tuple[TrainSequence, ...]
"""Sequences behind one copy of their prompt."""
MIN_SAVED_FRAC = 0.2
"""Tokens that sharing prompts must save; below, a mask of its own per row is not worth it."""

_EVERYONE, _PADDING = -1, -2
"""Owners of a token beside the sequences of its row, which count from 0."""


class BatchRules(NamedTuple):
    """Which completions an update learns from, and which of them its means count."""

    keep_without_signal: bool = False
    """Keep groups whose advantages are all zero: their gradient is not."""
    drop_truncated: bool = False
    """Completions cut at the token limit are in neither sequences nor denominators."""
    accepted_only: bool = False
    """Nor are completions with advantage 0."""

    @classmethod
    def of(cls, algorithm: AlgorithmSection, *, every_group: bool) -> BatchRules:
        """What ``algorithm`` needs; ``every_group`` where a KL or entropy term does."""
        loss = LOSSES[algorithm.loss]
        return cls(
            keep_without_signal=every_group or not loss.reads_advantages,
            drop_truncated=algorithm.mask_truncated,
            accepted_only=loss.imitates,
        )


SIGNAL_ALONE = BatchRules()
"""Groups with signal, all their completions."""


def make_train_batches(
    scored: Sequence[ScoredGroup], *, updates: int, rules: BatchRules = SIGNAL_ALONE
) -> list[TrainBatch]:
    """Split a step's groups into at most ``updates`` batches, one optimizer update each.

    Groups without signal are left out: their policy gradient is exactly zero. Their tokens and
    sequences stay in the denominators, so leaving them out changes nothing but the time.
    Completions with a scorer fault (``infra``) are in neither. An update in which no group is left
    is dropped.

    Args:
        scored: The step's groups, in slot order.
        updates: Optimizer updates per step; the groups are dealt in contiguous, near-equal runs.
        rules: What else is left out, and whether groups without signal are.
    """
    batches = []
    for run in _deal(scored, updates):
        counted = [_sequences(group, index, rules) for index, group in enumerate(run)]
        kept = [
            sequence
            for group, sequences in zip(run, counted, strict=True)
            for sequence in sequences
            if rules.keep_without_signal or group.has_signal
        ]
        everything = [sequence for sequences in counted for sequence in sequences]
        if kept:
            batches.append(
                TrainBatch(
                    sequences=tuple(kept),
                    num_loss_tokens=sum(sequence.num_loss_tokens for sequence in everything),
                    num_left_out=len(everything) - len(kept),
                )
            )
    return batches


def _deal(groups: Sequence[ScoredGroup], runs: int) -> list[Sequence[ScoredGroup]]:
    bounds = [round(i * len(groups) / runs) for i in range(runs + 1)]
    return [groups[start:stop] for start, stop in pairwise(bounds)]


def _sequences(group: ScoredGroup, index: int, rules: BatchRules) -> list[TrainSequence]:
    return [
        train_sequence(rollout, advantage=advantage, group=index)
        for rollout, advantage, counted in zip(
            group.group.rollouts, group.advantages, group.counted, strict=True
        )
        if counted
        and not (rules.drop_truncated and rollout.finish_reason == "length")
        and not (rules.accepted_only and advantage == 0)
    ]


def train_sequence(rollout: Rollout, *, advantage: float, group: int = -1) -> TrainSequence:
    """A completion behind its prompt; the loss counts the completion alone."""
    prompt, completion = rollout.prompt_ids, rollout.completion_ids
    return TrainSequence(
        token_ids=prompt + completion,
        loss_mask=(False,) * len(prompt) + (True,) * len(completion),
        advantages=(0.0,) * len(prompt) + (advantage,) * len(completion),
        rollout_logprobs=(0.0,) * len(prompt) + rollout.rollout_logprobs,
        group=group,
    )


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


def plan_microbatches(
    sequences: Sequence[TrainSequence], *, budget: int, max_shared_row: int
) -> list[list[Row]]:
    """Micro-batches of rows within ``budget`` tokens.

    Args:
        sequences: Everything of one update.
        budget: Padded tokens of a micro-batch.
        max_shared_row: Longest row that several sequences may share; 0 gives each its own. Every
            token of a row is compared with every other, so long rows cost more than they save.
    """
    return split_rows(plan_rows(sequences, max_shared_row), budget)


def plan_rows(sequences: Sequence[TrainSequence], max_shared_row: int) -> list[Row]:
    """Rows that share prompts where that saves enough, else one row per sequence."""
    rows = share_prompts(sequences, max_shared_row)
    num_tokens = sum(len(sequence.token_ids) for sequence in sequences)
    if sum(map(row_tokens, rows)) > (1 - MIN_SAVED_FRAC) * num_tokens:
        return [(sequence,) for sequence in sequences]
    return rows


def split_rows(rows: Sequence[Row], budget: int) -> list[list[Row]]:
    """Micro-batches within ``budget`` tokens; rows with and without sharing never mix."""
    kinds = [[row for row in rows if (len(row) > 1) == shared] for shared in (False, True)]
    return [
        [kind[index] for index in indices]
        for kind in kinds
        for indices in split_by_tokens([row_tokens(row) for row in kind], budget)
    ]


def share_prompts(sequences: Sequence[TrainSequence], max_tokens: int) -> list[Row]:
    """Put sequences with one prompt into rows of at most ``max_tokens`` that hold it once."""
    rows: list[list[TrainSequence]] = []
    open_rows: dict[tuple[int, ...], list[TrainSequence]] = {}
    for sequence in sequences:
        prompt = sequence.token_ids[: _prompt_length(sequence)]
        row = open_rows.get(prompt)
        if row is None or row_tokens((*row, sequence)) > max_tokens:
            row = open_rows[prompt] = []
            rows.append(row)
        row.append(sequence)
    return [tuple(row) for row in rows]


def row_tokens(row: Row) -> int:
    """Tokens of a row: the prompt, and what follows it in each sequence."""
    prompt = _prompt_length(row[0])
    return prompt + sum(len(sequence.token_ids) - prompt for sequence in row)


def _prompt_length(sequence: TrainSequence) -> int:
    return sequence.loss_mask.index(True)


class MicroBatch(NamedTuple):
    """Padded input of one forward, and the loss tokens in it, flattened."""

    input_ids: Tensor
    """[batch, seq] int64, right-padded with 0."""
    attention_mask: Tensor | None
    """With shared prompts [batch, 1, seq, seq] bool, True where a token (dim 2) sees another (dim
    3). Else None: padding stands on the right, where no real token looks, and without a mask
    attention takes its causal path, which skips half of the work."""
    position_ids: Tensor | None
    """[batch, seq] int64, with shared prompts; None where positions just count."""
    predicts: Tensor
    """[tokens] int64, position in the flattened [batch * seq] that predicts each loss token."""
    targets: Tensor
    """[tokens] int64, the loss tokens, sequence after sequence."""
    advantages: Tensor
    """[tokens] float32."""
    rollout_logprobs: Tensor | None
    """[tokens] float32 nats; None where nothing was sampled."""
    sequences: Sequences
    """Which loss token belongs to which of the sequences, in the order of the rows."""
    groups: Tensor
    """[sequences] int64, equal for completions of one prompt."""
    num_tokens: int
    """Tokens computed that are no padding."""


def collate(rows: Sequence[Row], device: torch.device) -> MicroBatch:
    """Pad ``rows`` to the longest of them and flatten what the loss counts.

    In a row the sequences follow one prompt. Each sees that prompt and itself, at the positions
    that it would have alone, so every logprob is what it would be alone.
    """
    longest = max(map(row_tokens, rows))
    shape = (len(rows), longest)
    input_ids, positions = torch.zeros(2, *shape, dtype=torch.int64)
    owner = torch.full(shape, _PADDING)
    predicts: list[int] = []
    for number, row in enumerate(rows):
        end = prompt = _prompt_length(row[0])
        for index, sequence in enumerate(row):
            length = len(sequence.token_ids)
            columns = [*range(prompt), *range(end, end + length - prompt)]
            end += length - prompt
            input_ids[number, columns] = torch.tensor(sequence.token_ids)
            positions[number, columns] = torch.arange(length)
            owner[number, columns] = index
            predicts += [
                number * longest + columns[token - 1]
                for token, counted in enumerate(sequence.loss_mask)
                if counted
            ]
        owner[number, :prompt] = _EVERYONE
    sequences = [sequence for row in rows for sequence in row]
    shared = len(sequences) > len(rows)
    mask = _sees(owner)[:, None].to(device) if shared else None
    return MicroBatch(
        input_ids=input_ids.to(device),
        attention_mask=mask,
        position_ids=positions.to(device) if shared else None,
        predicts=torch.tensor(predicts, device=device),
        targets=torch.tensor(
            [
                token
                for sequence in sequences
                for token, counted in zip(sequence.token_ids, sequence.loss_mask, strict=True)
                if counted
            ],
            device=device,
        ),
        advantages=_loss_values(sequences, "advantages", device),
        rollout_logprobs=(
            None
            if any(sequence.rollout_logprobs is None for sequence in sequences)
            else _loss_values(sequences, "rollout_logprobs", device)
        ),
        sequences=Sequences(_sequence_ids(sequences, device), len(sequences)),
        groups=torch.tensor([sequence.group for sequence in sequences], device=device),
        num_tokens=int((owner != _PADDING).sum()),
    )


def _sequence_ids(sequences: Sequence[TrainSequence], device: torch.device) -> Tensor:
    lengths = torch.tensor([sequence.num_loss_tokens for sequence in sequences])
    return torch.arange(len(sequences)).repeat_interleave(lengths).to(device)


def _sees(owner: Tensor) -> Tensor:
    """[batch, seq, seq]: a token sees what stands before it in its sequence, and the prompt."""
    seq = owner.shape[1]
    same = owner[:, :, None] == owner[:, None, :]
    earlier = torch.ones(seq, seq, dtype=torch.bool).tril()
    return (same | (owner == _EVERYONE)[:, None, :]) & earlier


def _loss_values(sequences: Sequence[TrainSequence], field: str, device: torch.device) -> Tensor:
    values = [
        value
        for sequence in sequences
        for value, counted in zip(getattr(sequence, field), sequence.loss_mask, strict=True)
        if counted
    ]
    return torch.tensor(values, dtype=torch.float32, device=device)
