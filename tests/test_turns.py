"""Learner and engine that take turns, with fakes that note the order of what they are asked."""

from pathlib import Path
from typing import Any

import pytest
from real_parts import CONFIG, MODEL, encoder

from rlreason.errors import ConfigError
from rlreason.rollout.memory import GpuShare
from rlreason.rollout.vllm_engine import EngineStart, VllmEngine
from rlreason.turns import TurnTakingLearner


class Noting:
    """Notes the name of whatever is called on it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.calls.append(name)


@pytest.mark.parametrize(
    ("ask", "work"),
    [
        (lambda learner: learner.update([], step=0), "update"),
        (lambda learner: learner.reference_logprobs([]), "reference_logprobs"),
        # Loading builds the optimizer's state by an update.
        (lambda learner: learner.load(Path()), "load"),
    ],
)
def test_the_engine_sleeps_first_and_the_learner_tidies_up_last(ask: Any, work: str) -> None:
    learner = Noting()
    ask(TurnTakingLearner(learner, learner.sleep))
    assert learner.calls == ["sleep", work, "release_memory"]


@pytest.mark.parametrize("name", ["named_tensors", "digests", "refresh_reference"])
def test_reading_weights_wakes_and_lulls_nobody(name: str) -> None:
    learner = Noting()
    getattr(TurnTakingLearner(learner, learner.sleep), name)()
    assert learner.calls == [name]


class FakeVllm(Noting):
    """vLLM's engine as far as sleeping goes."""

    def reset_prefix_cache(self) -> bool:
        self.calls.append("reset_prefix_cache")
        return True


def engine_on(share: GpuShare | None) -> tuple[VllmEngine, FakeVllm]:
    """An engine around a fake: what a GPU would be needed for."""
    engine: Any = VllmEngine.__new__(VllmEngine)
    engine._start = EngineStart(
        path=MODEL, version=0, max_len=96, eos_ids=(2,), threads=1, gpu=share
    )
    engine._engine, engine._known, engine._asleep = FakeVllm(), {}, False
    engine._adapters = None
    engine._codec, engine._rollout = encoder(), CONFIG.rollout
    return engine, engine._engine


SLEEPY = GpuShare(cache_bytes=2**30, utilization=0.3, batch_tokens=8192, sleeps=True)


def test_an_engine_sleeps_once_and_wakes_before_weights_or_requests() -> None:
    engine, vllm = engine_on(SLEEPY)
    engine.sleep()
    engine.sleep()
    assert vllm.calls == ["sleep"]
    engine.load_weights(iter([]), version=1)
    assert vllm.calls[1:] == ["wake_up", "collective_rpc", "reset_prefix_cache"]
    engine.sleep()
    del vllm.calls[:]
    engine.begin()
    engine.begin()
    assert vllm.calls == ["wake_up", "reset_prefix_cache", "reset_prefix_cache"]


@pytest.mark.parametrize("share", [None, SLEEPY._replace(sleeps=False)])
def test_an_engine_that_was_not_started_to_sleep_refuses(share: GpuShare | None) -> None:
    engine, _ = engine_on(share)
    with pytest.raises(ConfigError, match="cannot sleep"):
        engine.sleep()
