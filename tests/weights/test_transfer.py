"""Weights through vLLM's weight-transfer API: its own classes, the product's two ends, no GPU."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import cuda_fakes
import pytest
import real_parts
import torch

from rlreason.cluster.ray_transfer import RemoteEngines
from rlreason.rollout.vllm_engine import VllmEngine
from rlreason.types import RolloutGroup
from rlreason.weights import transfer
from rlreason.weights.inline import InlinePublisher
from rlreason.weights.transfer import LearnerWeights, Meeting, WeightSender

BACK_ENDS = {"cuda_ipc": "ipc", "nccl": "nccl"}
SMALL_BUFFER = 20_000
"""Bytes: the model goes in many parts, and its largest tensor is larger."""


@pytest.fixture(scope="module")
def engine() -> VllmEngine:
    return real_parts.start_engine(transfer="ipc")


@pytest.fixture(autouse=True)
def _no_gpu_needed(monkeypatch: pytest.MonkeyPatch, engine: VllmEngine) -> Iterator[None]:
    monkeypatch.setattr("ray.get", lambda refs: refs)
    cuda_fakes.fake_cuda(monkeypatch)
    yield
    monkeypatch.undo()
    real_parts.reset(engine)


def remote(engine: Any) -> SimpleNamespace:
    """An engine's host as a Ray handle shows it, here."""
    return SimpleNamespace(run=SimpleNamespace(remote=lambda function: function(engine)))


def receive_by(engine: VllmEngine, back_end: str) -> None:
    """Have vLLM make its receiver anew, by another back end than the engine started with."""
    from vllm.config.weight_transfer import WeightTransferConfig
    from vllm.distributed.weight_transfer import WeightTransferEngineFactory

    def exchange(wrapped: Any) -> None:
        worker = wrapped.worker
        worker.weight_transfer_engine = WeightTransferEngineFactory.create_engine(
            WeightTransferConfig(backend=back_end),
            worker.vllm_config,
            worker.device,
            worker.model_runner.get_model(),
        )

    engine._engine.collective_rpc(exchange)


def sampled(engine: VllmEngine) -> list[RolloutGroup]:
    groups = engine.generate(real_parts.problems(4), step=3)
    return sorted(groups, key=lambda group: group.slot)


def tokens(groups: list[RolloutGroup]) -> list[Any]:
    return [(r.completion_ids, r.rollout_logprobs) for group in groups for r in group.rollouts]


@pytest.mark.parametrize("weight_sync", BACK_ENDS)
def test_what_is_sent_samples_as_what_is_loaded(
    weight_sync: str, engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "BUCKET_BYTES", SMALL_BUFFER)
    wire = cuda_fakes.fake_nccl(monkeypatch)
    receive_by(engine, BACK_ENDS[weight_sync])
    learner = real_parts.start_learner(learning_rate=5e-2)
    before = sampled(engine)
    engines = RemoteEngines([remote(engine)], processes_each=1)
    sender = WeightSender(learner, weight_sync, engines, Meeting("127.0.0.1", 1, 2))
    for version in (1, 2):
        learner.update(real_parts.sample_batch(engine, step=version), step=version)
        InlinePublisher(learner, engine).publish(version)
        expected = sampled(engine)
        real_parts.reset(engine)
        assert tokens(sampled(engine)) == tokens(before)
        sender.send(version)
        assert engine.policy_version == version
        assert tokens(sampled(engine)) == tokens(expected)
        assert tokens(expected) != tokens(before)
    if weight_sync == "nccl":
        assert len(wire.broadcasts) > 4
        assert max(wire.broadcasts) < sum(wire.broadcasts) / 4


def test_metadata_is_what_a_pass_yields_and_costs_one_pass() -> None:
    passes = []

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        passes.append(1)
        yield "a", torch.zeros(2, 3, dtype=torch.bfloat16)
        yield "b", torch.zeros(4)

    source = LearnerWeights(tensors)
    for _ in range(2):
        declared = [(meta.name, meta.dtype, meta.shape) for meta in source.metadata()]
        assert declared == [("a", torch.bfloat16, (2, 3)), ("b", torch.float32, (4,))]
    assert len(passes) == 1
    assert [name for name, _ in source] == ["a", "b"]


def test_engines_of_several_processes_each_have_ranks_of_their_own() -> None:
    joined: list[dict[str, Any]] = []
    engine = SimpleNamespace(join_transfer=joined.append)
    engines = RemoteEngines([remote(engine)] * 3, processes_each=2)
    engines.init_weight_transfer_engine({"rank_offset": 1, "world_size": 7})
    ranks = [info["rank_offset"] + rank for info in joined for rank in range(2)]
    assert ranks == list(range(1, 7))
    engines.init_weight_transfer_engine({"packed": True})
    assert joined[3:] == [{"packed": True}] * 3


def test_a_dead_engine_is_told_from_one_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    from rlreason.errors import LearnerLostError

    def get_from(error: Exception) -> Callable[[Any], Any]:
        def get(refs: Any) -> Any:
            raise error

        return get

    engines = RemoteEngines(
        [remote(SimpleNamespace(start_transfer=lambda: None))], processes_each=1
    )
    monkeypatch.setattr("ray.get", get_from(ray.exceptions.ActorDiedError()))
    with pytest.raises(LearnerLostError, match="died while weights came"):
        engines.start_weight_update()
    monkeypatch.setattr("ray.get", get_from(RuntimeError("no such tensor")))
    with pytest.raises(RuntimeError, match="no such tensor"):
        engines.start_weight_update()
