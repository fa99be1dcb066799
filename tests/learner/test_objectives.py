"""Every loss in the real learner: the gradient of plain torch for any micro-batches."""

from collections.abc import Sequence
from dataclasses import replace

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

from rlreason.algorithms.aggregation import AGGREGATIONS, Denominators
from rlreason.algorithms.batching import MicroBatch
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
    learner._accumulate(batch, plan, with_drift(learner, plan) if drift else None)
    return {name: p.grad.clone() for name, p in learner._model.named_parameters()}


def with_drift(learner: DeepSpeedLearner, plan: Sequence[MicroBatch]) -> list[Tensor]:
    """Old logprobs of a later update."""
    with torch.no_grad():
        return [learner._engine(one)[0] - _drift(one.targets) for one in plan]


def _drift(targets: Tensor) -> Tensor:
    """Log ratios that depend on the token alone, so that any micro-batch has the same."""
    return (targets % 7 - 3).float() / 10


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
    old = policy.detach() - (_drift(torch.cat(targets)) if drift else 0.0)
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
        denominators=Denominators.of(batch),
        options=options,
    )
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


CASES = {
    **{name: options for name, options in OPTIONS.items() if name != "distillation"},
    "grpo of the paper": AlgorithmSection(aggregation="sequence_mean"),
    "dr_grpo": AlgorithmSection(aggregation="constant", tokens_per_sequence=40),
    "p3o token mean": AlgorithmSection(
        loss="p3o", aggregation="sequence_mean", pair_ratio="token_mean"
    ),
}


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("drift", [False, True], ids=["first update", "later update"])
def test_the_gradient_does_not_depend_on_the_micro_batches(case: str, drift: bool) -> None:
    batch, options = make_groups(), CASES[case]
    expected = plain_gradients(batch, options, drift)
    for budget in (50, 100_000):  # one or two sequences at a time, groups torn; all at once
        learner = make_learner(options.model_dump(), tokens_per_microbatch=budget)
        got = gradients(learner, batch, drift)
        assert relative_gap(got, expected) < 2e-6


def test_a_later_update_of_pairs_sees_the_ratios_of_the_whole_group() -> None:
    options = CASES["p3o"].model_dump()
    learner = make_learner(options, learning_rate=1e-4, tokens_per_microbatch=50)
    stats = learner.update([make_groups(1), make_groups(2)], step=0)
    assert not stats.skipped
    assert stats.clip_frac > 0


def test_imitation_pays_for_no_second_forward() -> None:
    learner, batch = make_learner({"loss": "likelihood"}), make_groups()
    assert learner._old_logprobs(batch, learner._microbatches(batch)) is None
    assert not learner.update([make_groups(1), make_groups(2)], step=0).skipped
    needing = make_learner()
    assert needing._old_logprobs(batch, needing._microbatches(batch)) is not None


@pytest.mark.parametrize("correction", ["token_truncated", "sequence_masked"])
def test_the_correction_weighs_each_token_and_says_how_many_it_bounded(correction: str) -> None:
    batch = make_groups()
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    sequences, weights, bounded = [], [], 0
    for index, sequence in enumerate(batch.sequences):
        count = sequence.num_loss_tokens
        with torch.no_grad():
            learner_logprobs = plain_logprobs(model, sequence.token_ids)[-count:]
        shift = torch.full((count,), 0.4 if index % 2 else -0.01)
        own = importance_weights(
            learner_logprobs,
            learner_logprobs - shift,
            Sequences(torch.zeros(count, dtype=torch.int64), 1),
            correction=correction,
            cap=1.3,
        )
        weights.append((0.0,) * 4 + tuple(own.weights.tolist()))
        bounded += int(own.bounded.sum())
        rollout = (0.0,) * 4 + tuple((learner_logprobs - shift).tolist())
        sequences.append(replace(sequence, rollout_logprobs=rollout))
    # Weights on the loss are the same as weights on the advantages of REINFORCE.
    weighted = [
        replace(s, advantages=tuple(a * w for a, w in zip(s.advantages, own, strict=True)))
        for s, own in zip(batch.sequences, weights, strict=True)
    ]
    expected = plain_gradients(
        replace(batch, sequences=tuple(weighted)), AlgorithmSection(), drift=False
    )
    learner = make_learner({"correction": correction, "importance_cap": 1.3}, mismatch_limit=1.0)
    corrected = replace(batch, sequences=tuple(sequences))
    got = gradients(learner, corrected, drift=False)
    assert relative_gap(got, expected) < 1e-4  # exp of sums in float32
    learner._engine.zero_grad()
    stats = learner.update([corrected], step=0)
    total = sum(sequence.num_loss_tokens for sequence in batch.sequences)
    assert stats.bounded_frac == pytest.approx(bounded / total)
    assert 0 < bounded < total
