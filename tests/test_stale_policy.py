"""A publication that did not happen is seen before anything is learned from its sample.

Real engine, real learner. The engine's version label is made to lie in each case, so that what
catches the fault is the comparison of logprobs and not the label.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import real_parts
import torch

from rlreason.arrival import prove_arrival
from rlreason.errors import StalePolicyError
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.rollout import reload
from rlreason.rollout.vllm_engine import VllmEngine
from rlreason.weights.inline import InlinePublisher


@pytest.fixture(scope="module")
def engine() -> VllmEngine:
    return real_parts.start_engine()


@pytest.fixture(autouse=True)
def _shipped_weights(engine: VllmEngine) -> Iterator[None]:
    yield
    real_parts.reset(engine)


def step(engine: VllmEngine, learner: DeepSpeedLearner, number: int) -> None:
    learner.update(real_parts.sample_batch(engine, number), step=number)


def assert_refused_unchanged(engine: VllmEngine, learner: DeepSpeedLearner, number: int) -> None:
    before = learner.digests()
    with pytest.raises(StalePolicyError, match=f"step {number}"):
        step(engine, learner, number)
    assert learner.digests() == before


def test_a_publication_that_is_switched_off_is_seen(engine: VllmEngine) -> None:
    learner = real_parts.start_learner()
    step(engine, learner, 0)
    engine.policy_version = 1
    assert_refused_unchanged(engine, learner, 1)


def test_a_publication_that_comes_two_steps_late_is_seen(engine: VllmEngine) -> None:
    learner = real_parts.start_learner()
    step(engine, learner, 0)
    InlinePublisher(learner, engine).publish(1)
    late = [(name, tensor.clone()) for name, tensor in learner.named_tensors()]
    for number in (1, 2):
        step(engine, learner, number)
        InlinePublisher(learner, engine).publish(number + 1)
    engine.load_weights(iter(late), version=3)
    assert_refused_unchanged(engine, learner, 3)


def test_a_tied_head_that_is_not_packed_anew_is_seen(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = real_parts.start_learner()
    step(engine, learner, 0)
    with monkeypatch.context() as patched:
        patched.setattr(reload, "repack_tied_head", lambda model: None)
        InlinePublisher(learner, engine).publish(1)
    assert_refused_unchanged(engine, learner, 1)


def test_a_partial_publication_is_seen(engine: VllmEngine) -> None:
    learner = real_parts.start_learner()
    step(engine, learner, 0)
    old = dict(learner._model.state_dict())
    shipped = real_parts.load_model(real_parts.MODEL, real_parts.CONFIG.model).state_dict()
    mixed = [
        (name, (shipped if ".1." in name else old)[name]) for name, _ in learner.named_tensors()
    ]
    engine.load_weights(iter(mixed), version=1)
    assert_refused_unchanged(engine, learner, 1)


def test_clean_publications_raise_no_alarm(engine: VllmEngine) -> None:
    learner = real_parts.start_learner()
    publisher = InlinePublisher(learner, engine)
    gaps = []
    for number in range(10):
        batches = real_parts.sample_batch(engine, number)
        gaps.append(learner.update(batches, step=number).mismatch_abs)
        publisher.publish(number + 1)
    assert max(gaps) < 1e-5  # a tenth of the limit
    assert torch.isfinite(torch.tensor(gaps)).all()


def test_an_engine_that_does_not_take_the_version_is_refused(engine: VllmEngine) -> None:
    learner = real_parts.start_learner()

    class Deaf:
        policy_version = 0

        def load_weights(self, tensors: object, *, version: int) -> None:
            pass

    with pytest.raises(StalePolicyError, match="version 0 after version 1"):
        InlinePublisher(learner, Deaf()).publish(1)  # type: ignore[arg-type]


def prove(engine: VllmEngine, learner: DeepSpeedLearner, version: int) -> float:
    run: Any = SimpleNamespace(engine=engine, learner=learner, config=real_parts.CONFIG)
    return prove_arrival(run, version, real_parts.problems(4))


def test_one_version_behind_the_probe_sees_what_the_samples_cannot_show(engine: VllmEngine) -> None:
    learner = real_parts.start_learner()
    learner._on_policy = False
    ahead = real_parts.sample_batch(engine, 1)  # of version 0, as step 0 is
    assert prove(engine, learner, 0) < 1e-5
    step(engine, learner, 0)
    assert learner.update(ahead, step=1).mismatch_abs > 1e-4  # it would be refused as stale
    before = learner.digests()
    engine.policy_version = 2
    with pytest.raises(StalePolicyError, match="version 2"):
        prove(engine, learner, 2)
    InlinePublisher(learner, engine).publish(2)
    assert prove(engine, learner, 2) < 1e-5
    assert learner.digests() == before


def test_the_probe_sees_a_tied_head_that_is_not_packed_anew(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = real_parts.start_learner()
    step(engine, learner, 0)
    with monkeypatch.context() as patched:
        patched.setattr(reload, "repack_tied_head", lambda model: None)
        InlinePublisher(learner, engine).publish(1)
    with pytest.raises(StalePolicyError, match="version 1"):
        prove(engine, learner, 1)
