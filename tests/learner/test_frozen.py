"""The reference that is refreshed: its logprobs, its state, and how a resumed run goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from test_deepspeed_learner import (
    MODEL,
    SECTION,
    gradients,
    make_batch,
    make_learner,
    plain_logprobs,
    relative_gap,
    with_logprobs_of,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlreason.cluster.inline import prepare_process
from rlreason.config import AlgorithmSection, ClusterSection, LearnerSection
from rlreason.learner.deepspeed_learner import REFERENCE_FILE, DeepSpeedLearner
from rlreason.learner.policy import load_frozen, load_model
from rlreason.types import Coefficients

KL = {"kl": 0.2}


@pytest.fixture(scope="module", autouse=True)
def _process() -> None:
    prepare_process(ClusterSection(threads=1))


def learner_at(policy: Path) -> DeepSpeedLearner:
    """As the build makes it on resume: the policy saved, the starting model as reference."""
    return DeepSpeedLearner(
        load_model(policy, SECTION),
        AutoTokenizer.from_pretrained(MODEL),
        learner=LearnerSection(learning_rate=1e-3),
        algorithm=AlgorithmSection.model_validate(KL),
        temperature=0.8,
        total_steps=10,
        reference=load_frozen(MODEL, SECTION),
    )


def save(learner: DeepSpeedLearner, folder: Path) -> None:
    learner.export_policy(folder / "policy")
    learner.save(folder / "learner")


@pytest.mark.parametrize("budget", [256, 100_000])
def test_reference_logprobs_come_back_in_the_order_that_was_asked(budget: int) -> None:
    batch = make_batch(count=7)
    learner = make_learner(algorithm=KL, tokens_per_microbatch=budget)
    learner.update([batch], step=0)  # the reference stays where it was
    plain = AutoModelForCausalLM.from_pretrained(MODEL)
    for sequence, got in zip(
        batch.sequences, learner.reference_logprobs(batch.sequences), strict=True
    ):
        with torch.no_grad():
            every = plain_logprobs(plain, sequence.token_ids)
        expected = every[torch.tensor(sequence.loss_mask[1:])]
        torch.testing.assert_close(torch.tensor(got), expected, atol=1e-5, rtol=0)


def test_a_refreshed_reference_is_the_policy_of_that_moment_and_stays_there() -> None:
    batch = make_batch()
    learner = make_learner(algorithm=KL)
    learner.update([batch], step=0)
    first = learner.digests()["reference"]
    batch = with_logprobs_of(learner, batch)
    learner.refresh_reference()
    refreshed = learner.digests()["reference"]
    assert refreshed == learner.digests()["parameters"] != first
    assert learner.update([batch], step=1).kl == pytest.approx(0.0, abs=1e-9)
    assert learner.digests()["reference"] == refreshed != learner.digests()["parameters"]


def test_a_resumed_learner_compares_with_the_reference_that_was_saved(tmp_path: Path) -> None:
    straight = make_learner(algorithm=KL)
    straight.update([make_batch()], step=0)
    straight.refresh_reference()
    straight.update([with_logprobs_of(straight, make_batch())], step=1)
    save(straight, tmp_path)
    resumed = learner_at(tmp_path / "policy")
    resumed.load(tmp_path / "learner")
    assert resumed.digests() == straight.digests()
    batch = with_logprobs_of(straight, make_batch(seed=3))
    stats = [learner.update([batch], step=2) for learner in (straight, resumed)]
    assert stats[0] == stats[1]
    assert stats[0].kl > 1e-5
    assert resumed.digests() == straight.digests()


def test_a_reference_that_never_moved_is_not_saved_but_vouched_for(tmp_path: Path) -> None:
    learner = make_learner(algorithm=KL)
    save(learner, tmp_path)
    assert not (tmp_path / "learner" / REFERENCE_FILE).exists()
    resumed = learner_at(tmp_path / "policy")
    resumed.load(tmp_path / "learner")
    assert resumed.digests() == learner.digests()
    assert set(make_learner().digests()) == {"parameters", "optimizer"}


def test_coefficients_of_a_step_replace_those_of_the_recipe() -> None:
    def update(algorithm: dict[str, Any], coefficients: Coefficients | None) -> dict[str, str]:
        learner = make_learner(algorithm=algorithm)
        learner.update([make_batch()], step=0)
        batch = with_logprobs_of(learner, make_batch(seed=5))
        learner.update([batch], step=1, coefficients=coefficients)
        return learner.digests()

    # The first update is at the reference, where the KL term has no gradient: equal up to there.
    asked = update({"kl": 0.5, "entropy_bonus": 0.0}, Coefficients(kl=0.1, entropy=0.0))
    assert asked == update({"kl": 0.1, "entropy_bonus": 0.0}, None)
    assert asked != update({"kl": 0.5, "entropy_bonus": 0.0}, None)


def test_an_entropy_coefficient_that_a_controller_raised_from_zero_has_a_gradient() -> None:
    without, with_bonus = (make_learner() for _ in range(2))
    without.update([make_batch()], step=0)
    with_bonus.update([make_batch()], step=0, coefficients=Coefficients(kl=0.0, entropy=0.5))
    assert without.digests() != with_bonus.digests()


def test_distillation_has_the_gradient_of_the_gap_to_the_teacher(tmp_path: Path) -> None:
    # The teacher: the model after a few updates, so that it differs from the pupil.
    taught = make_learner(learning_rate=1e-2)
    taught.update([make_batch(seed=9)], step=0)
    taught.export_policy(tmp_path)
    batch = make_batch(count=5)
    pupil = DeepSpeedLearner(
        load_model(MODEL, SECTION),
        AutoTokenizer.from_pretrained(MODEL),
        learner=LearnerSection(learning_rate=1e-3),
        algorithm=AlgorithmSection(loss="distillation"),
        temperature=0.8,
        total_steps=10,
        teacher=load_frozen(tmp_path, SECTION),
    )
    model, teacher = (AutoModelForCausalLM.from_pretrained(path) for path in (MODEL, tmp_path))
    loss = torch.zeros(())
    for sequence in batch.sequences:
        mask = torch.tensor(sequence.loss_mask[1:])
        logprobs = plain_logprobs(model, sequence.token_ids)[mask]
        with torch.no_grad():
            gap = plain_logprobs(teacher, sequence.token_ids)[mask] - logprobs
        loss = loss - (gap * logprobs).sum() / batch.num_loss_tokens
    loss.backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    assert relative_gap(gradients(pupil, batch), expected) < 1e-5
    assert set(pupil.digests()) == {"parameters", "optimizer", "teacher"}
