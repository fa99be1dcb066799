"""The real DeepSpeed learner on the shipped model: gradients, safety, exact continuation."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlreason.cluster.inline import prepare_process
from rlreason.config import AlgorithmSection, ClusterSection, LearnerSection, ModelSection
from rlreason.errors import StalePolicyError
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.learner.policy import load_frozen, load_model
from rlreason.models import resolve_model
from rlreason.types import TrainBatch, TrainSequence

MODEL = resolve_model("tiny-arithmetic")
SECTION = ModelSection(path="tiny-arithmetic")


@pytest.fixture(scope="module", autouse=True)
def _process() -> None:
    prepare_process(ClusterSection(threads=1))


def make_learner(
    algorithm: dict[str, Any] | None = None, *, path: Path | None = None, **options: Any
) -> DeepSpeedLearner:
    section = AlgorithmSection(**(algorithm or {}))
    return DeepSpeedLearner(
        load_model(path or MODEL, SECTION),
        AutoTokenizer.from_pretrained(MODEL),
        learner=LearnerSection(**({"learning_rate": 1e-3} | options)),
        algorithm=section,
        temperature=0.8,
        total_steps=10,
        reference=load_frozen(MODEL, SECTION) if section.kl else None,
    )


def plain_logprobs(model: Any, ids: tuple[int, ...], temperature: float = 0.8) -> Tensor:
    """[tokens] logprob of each token but the first, by a plain transformers forward."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, :-1] / temperature
    return logits.log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None]).squeeze(-1)


def make_batch(count: int = 12, seed: int = 0, extra_tokens: int = 0) -> TrainBatch:
    """Random sequences of very different lengths, with the logprobs that the model gives them."""
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    generator = torch.Generator().manual_seed(seed)
    sequences = []
    for index in range(count):
        length = int(torch.randint(4, 90, (1,), generator=generator))
        ids = tuple(torch.randint(3, 60, (length,), generator=generator).tolist())
        prompt = 1 + index % 3
        mask = (False,) * prompt + (True,) * (length - prompt)
        with torch.no_grad():
            logprobs = [0.0, *plain_logprobs(model, ids).tolist()]
        sequences.append(
            TrainSequence(
                token_ids=ids,
                loss_mask=mask,
                advantages=tuple((-1.0) ** index * (1 + index / 10) * m for m in mask),
                rollout_logprobs=tuple(lp * m for lp, m in zip(logprobs, mask, strict=True)),
            )
        )
    total = sum(sequence.num_loss_tokens for sequence in sequences)
    return TrainBatch(sequences=tuple(sequences), num_loss_tokens=total + extra_tokens)


def gradients(learner: DeepSpeedLearner, batch: TrainBatch) -> dict[str, Tensor]:
    learner._accumulate(batch, learner._microbatches(batch), None)
    return {name: p.grad.clone() for name, p in learner._model.named_parameters()}


def plain_gradients(batch: TrainBatch, kl: float = 0.0) -> dict[str, Tensor]:
    """REINFORCE with a k3 penalty, one sequence at a time, in plain torch and transformers."""
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    reference = AutoModelForCausalLM.from_pretrained(MODEL)
    loss = torch.zeros(())
    for sequence in batch.sequences:
        logprobs = plain_logprobs(model, sequence.token_ids)
        with torch.no_grad():
            gap = plain_logprobs(reference, sequence.token_ids) - logprobs.detach()
        mask = torch.tensor(sequence.loss_mask[1:])
        advantages = torch.tensor(sequence.advantages[1:])
        surrogate = (logprobs - logprobs.detach()).exp() * advantages
        penalty = (gap - (logprobs - logprobs.detach())).exp() - 1 - gap + logprobs
        loss = loss - (surrogate - kl * penalty)[mask].sum() / batch.num_loss_tokens
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def relative_gap(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    assert left.keys() == right.keys()
    squares = [((left[name] - right[name]) ** 2).sum() for name in left]
    return math.sqrt(sum(squares) / sum((right[name] ** 2).sum() for name in right))


@pytest.mark.parametrize("budget", [512, 2048, 100_000])
def test_the_gradient_is_that_of_plain_torch_for_any_token_budget(budget: int) -> None:
    batch = make_batch(extra_tokens=17)
    learner = make_learner(tokens_per_microbatch=budget)
    assert relative_gap(gradients(learner, batch), plain_gradients(batch)) < 1e-6


def test_chunked_logits_change_no_gradient() -> None:
    batch = make_batch(count=3)
    learner = make_learner()
    learner._engine.module._chunk = 7
    assert relative_gap(gradients(learner, batch), plain_gradients(batch)) < 1e-6


@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_every_zero_stage_makes_the_same_update(zero_stage: int) -> None:
    batch = make_batch()
    plain, learner = make_learner(), make_learner(zero_stage=zero_stage)
    for step in range(2):
        batch = with_logprobs_of(plain, batch)
        expected = plain.update([batch], step=step)
        got = learner.update([batch], step=step)
        assert got.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
    start = dict(AutoModelForCausalLM.from_pretrained(MODEL).named_parameters())
    mine, theirs = (
        {name: tensor - start[name].detach() for name, tensor in one.named_tensors()}
        for one in (learner, plain)
    )
    # Not to the bit: Adam turns the rounding of a gradient near 0 into a different small step.
    assert relative_gap(mine, theirs) < 1e-3


def with_logprobs_of(learner: DeepSpeedLearner, batch: TrainBatch) -> TrainBatch:
    """The batch as if the learner's present weights had sampled it."""
    sequences = []
    for sequence in batch.sequences:
        with torch.no_grad():
            logprobs = [0.0, *plain_logprobs(learner._model, sequence.token_ids).tolist()]
        values = tuple(lp * m for lp, m in zip(logprobs, sequence.loss_mask, strict=True))
        sequences.append(replace(sequence, rollout_logprobs=values))
    return replace(batch, sequences=tuple(sequences))


def test_an_update_moves_towards_the_advantages_and_reports_what_it_did() -> None:
    batch = make_batch()
    learner = make_learner(learning_rate=1e-4)
    stats = learner.update([batch], step=0)
    assert not stats.skipped
    assert stats.mismatch_abs < 1e-6
    assert stats.clip_frac == 0.0
    assert stats.num_tokens == sum(len(sequence.token_ids) for sequence in batch.sequences)
    objective = [
        sum(
            (plain_logprobs(model, s.token_ids) * torch.tensor(s.advantages[1:])).sum().item()
            for s in batch.sequences
        )
        for model in (AutoModelForCausalLM.from_pretrained(MODEL), learner._model)
    ]
    assert objective[1] > objective[0]


def test_stale_rollouts_stop_the_run_before_any_weight_changes() -> None:
    batch = make_batch()
    learner = make_learner()
    learner.update([batch], step=0)
    before = learner.digests()
    with pytest.raises(StalePolicyError, match="step 1"):
        learner.update([batch], step=1)  # still version 0's logprobs
    assert learner.digests() == before


@pytest.mark.parametrize("poison", ["advantage", "rollout_logprob"])
def test_a_non_finite_update_is_skipped_and_changes_nothing(poison: str) -> None:
    batch = make_batch()
    broken = batch.sequences[0]
    last = len(broken.token_ids) - 1
    values = {"advantage": broken.advantages, "rollout_logprob": broken.rollout_logprobs}[poison]
    assert values is not None
    values = (*values[:last], math.nan)
    name = {"advantage": "advantages", "rollout_logprob": "rollout_logprobs"}[poison]
    broken = replace(broken, **{name: values})
    learner = make_learner(algorithm={"correction": "token_truncated", "importance_cap": 2.0})
    before = learner.digests()
    stats = learner.update([replace(batch, sequences=(broken, *batch.sequences[1:]))], step=0)
    assert stats.skipped
    assert learner.digests() == before
    assert not learner.update([batch], step=0).skipped  # nothing of the bad gradient was left


def test_a_later_update_of_a_step_compares_with_the_weights_at_its_start() -> None:
    learner = make_learner(learning_rate=0.01)
    stats = learner.update([make_batch(seed=1), make_batch(seed=2)], step=0)
    # The second update sees ratios away from 1: with current weights as "old" nothing would clip.
    assert stats.clip_frac > 0
    assert not stats.skipped


def test_kl_to_the_reference_joins_the_gradient() -> None:
    batch = make_batch()
    learner = make_learner(algorithm={"kl": 0.3})
    assert relative_gap(gradients(learner, batch), plain_gradients(batch, kl=0.3)) < 1e-6
    learner._engine.zero_grad()
    assert learner.update([batch], step=0).kl == pytest.approx(0.0, abs=1e-9)
    assert learner.update([with_logprobs_of(learner, batch)], step=1).kl > 1e-5


def test_an_entropy_bonus_raises_entropy() -> None:
    batch = make_batch()
    silent = replace(
        batch,
        sequences=tuple(replace(s, advantages=(0.0,) * len(s.advantages)) for s in batch.sequences),
    )
    learner = make_learner(algorithm={"entropy_bonus": 1.0})
    first = learner.update([silent], step=0)
    second = learner.update([with_logprobs_of(learner, silent)], step=1)
    assert second.entropy > first.entropy


@pytest.mark.parametrize("zero_stage", [0, 2, 3])
def test_a_loaded_learner_continues_to_the_same_bits(tmp_path: Path, zero_stage: int) -> None:
    batch = make_batch()
    straight, broken_off = (make_learner(zero_stage=zero_stage) for _ in range(2))
    for learner in (straight, broken_off):
        learner.update([batch], step=0)
    broken_off.export_policy(tmp_path / "policy")
    broken_off.save(tmp_path / "learner")
    resumed = DeepSpeedLearner(
        load_model(tmp_path / "policy", SECTION),
        AutoTokenizer.from_pretrained(MODEL),
        learner=LearnerSection(learning_rate=1e-3, zero_stage=zero_stage),
        algorithm=AlgorithmSection(),
        temperature=0.8,
        total_steps=10,
    )
    resumed.load(tmp_path / "learner")
    assert resumed.digests() == straight.digests()
    again = with_logprobs_of(straight, batch)
    for learner in (straight, resumed):
        learner.update([again], step=1)
    assert resumed.digests() == straight.digests()


def test_digests_see_a_single_changed_bit() -> None:
    learner = make_learner()
    before = learner.digests()
    with torch.no_grad():
        next(iter(learner._model.parameters())).view(torch.int32).view(-1)[0] ^= 1
    after = learner.digests()
    assert after["parameters"] != before["parameters"]
    assert after["optimizer"] == before["optimizer"]


def test_the_exported_policy_loads_in_plain_transformers(tmp_path: Path) -> None:
    learner = make_learner()
    learner.update([make_batch()], step=0)
    learner.export_policy(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = (1, 20, 21, 22, 5)
    with torch.no_grad():
        torch.testing.assert_close(plain_logprobs(loaded, ids), plain_logprobs(learner._model, ids))
    assert AutoTokenizer.from_pretrained(tmp_path).eos_token_id is not None
