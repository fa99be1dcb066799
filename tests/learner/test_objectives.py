"""Every loss in the real learner: the gradient of plain torch for any micro-batches."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from loss_batches import OPTIONS
from test_deepspeed_learner import (
    MODEL,
    make_learner,
    plain_logprobs,
    relative_gap,
)
from torch import Tensor
from transformers import AutoModelForCausalLM

from rlreason.algorithms.aggregation import AGGREGATIONS
from rlreason.algorithms.losses import LOSSES, LossInput, sequence_log_ratios
from rlreason.algorithms.offpolicy import importance_weights
from rlreason.algorithms.sequences import Sequences
from rlreason.cluster.inline import prepare_process
from rlreason.config import AlgorithmSection, ClusterSection
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.types import TrainBatch, TrainSequence


@pytest.fixture(scope="module", autouse=True)
def _process() -> None:
    prepare_process(ClusterSection(threads=1))


def make_groups(seed: int = 0) -> TrainBatch:
    """Three groups of three completions of 2 to 40 tokens; two sequences more were left out."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 60, (count,), generator=generator).tolist())

    sequences = []
    for number in range(9):
        length = int(torch.randint(2, 41, (1,), generator=generator))
        advantage = float(torch.randn((), generator=generator))
        mask = (False,) * 4 + (True,) * length
        sequences.append(
            TrainSequence(
                token_ids=tokens(4) + tokens(length),
                loss_mask=mask,
                advantages=tuple(advantage * counted for counted in mask),
                rollout_logprobs=None,
                group=number // 3,
            )
        )
    total = sum(sequence.num_loss_tokens for sequence in sequences)
    return TrainBatch(sequences=tuple(sequences), num_loss_tokens=total + 50, num_left_out=2)


def gradients(learner: DeepSpeedLearner, batch: TrainBatch, drift: bool) -> dict[str, Tensor]:
    plan = learner._microbatches(batch)
    old = [_old(microbatch.targets) for microbatch in plan] if drift else None
    learner._accumulate(batch, plan, old)
    return {name: p.grad.clone() for name, p in learner._model.named_parameters()}


def _old(targets: Tensor) -> Tensor:
    """Old logprobs that depend on the token alone, so that any micro-batch has the same."""
    return -3.0 - (targets % 7).float() / 5


def plain_gradients(batch: TrainBatch, options: AlgorithmSection, drift: bool) -> dict[str, Tensor]:
    """All sequences at once: one forward each by transformers, no micro-batch, no DeepSpeed."""
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    logprobs, targets, advantages = [], [], []
    for sequence in batch.sequences:
        mask = torch.tensor(sequence.loss_mask[1:])
        logprobs.append(plain_logprobs(model, sequence.token_ids)[mask])
        targets.append(torch.tensor(sequence.token_ids[1:])[mask])
        advantages.append(torch.tensor(sequence.advantages[1:])[mask])
    sequences = Sequences(
        torch.arange(9).repeat_interleave(torch.tensor([len(one) for one in targets])), 9
    )
    policy, mask = torch.cat(logprobs), torch.ones(len(sequences.ids), dtype=torch.bool)
    old = _old(torch.cat(targets)) if drift else policy.detach()
    spec, coupling = LOSSES[options.loss], None
    if spec.couple is not None:
        ratios = sequence_log_ratios(
            policy.detach(), old, mask, sequences, token_mean=options.pair_ratio == "token_mean"
        )
        groups = torch.tensor([sequence.group for sequence in batch.sequences])
        firsts = sequences.firsts(torch.cat(advantages))
        coupling = spec.couple(ratios, firsts, groups, options)
    given = LossInput(policy, old, torch.cat(advantages), mask, sequences, None, coupling)
    values = spec.per_token(given, options).values
    loss = AGGREGATIONS[options.aggregation](
        values,
        loss_mask=mask,
        sequences=sequences,
        denominators=(batch.num_loss_tokens, batch.num_sequences),  # type: ignore[arg-type]
        options=options,
    ) if options.aggregation == "sequence_mean" else _by_hand(values, batch, options)
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}
