"""Adapters in vLLM: they arrive, it is proved that they did, and what does not arrive is seen.

Real engine, real learner. An adapter that silently stays away gives completions that look right.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import real_parts
from plain_vllm import PROGRAM, answers
from transformers import AutoTokenizer
from warm_start import WarmProcess

from rlreason.cluster.inline import prepare_process
from rlreason.config import ClusterSection, LoraSection
from rlreason.errors import StalePolicyError
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.learner.lora import Adapter
from rlreason.learner.policy import load_model
from rlreason.preflight_lora import explicit_targets
from rlreason.rollout.vllm_engine import EngineStart, VllmEngine
from rlreason.weights.inline import InlinePublisher

MODEL = real_parts.MODEL
LORA = LoraSection(rank=3, alpha=8, publish="adapter")  # in buffers of rank 8


@pytest.fixture(scope="module")
def engine() -> VllmEngine:
    prepare_process(ClusterSection(threads=1))
    codec = real_parts.encoder()
    start = EngineStart(
        path=MODEL,
        version=0,
        max_len=96,
        eos_ids=(codec.tokenizer.eos_token_id,),
        threads=1,
        lora=explicit_targets(LORA, MODEL),
    )
    return real_parts.kept(VllmEngine(real_parts.CONFIG, codec, start))


@pytest.fixture(autouse=True)
def _no_adapter(engine: VllmEngine) -> Iterator[None]:
    yield
    engine._adapters.request, engine.policy_version = None, 0


def start_learner() -> DeepSpeedLearner:
    prepare_process(ClusterSection(threads=1))
    return DeepSpeedLearner(
        Adapter(load_model(MODEL, real_parts.CONFIG.model), LORA, seed=0, base=MODEL),
        AutoTokenizer.from_pretrained(MODEL),
        learner=real_parts.CONFIG.learner.model_copy(update={"learning_rate": 1e-2}),
        algorithm=real_parts.CONFIG.algorithm,
        temperature=real_parts.CONFIG.rollout.temperature,
        total_steps=100,
    )


def step(engine: VllmEngine, learner: DeepSpeedLearner, number: int) -> float:
    return learner.update(real_parts.sample_batch(engine, number), step=number).mismatch_abs


def test_clean_publications_raise_no_alarm(engine: VllmEngine) -> None:
    learner = start_learner()
    publisher = InlinePublisher(learner, engine)
    gaps, ids = [], set()
    for number in range(5):
        gaps.append(step(engine, learner, number))
        publisher.publish(number + 1)
        ids.add(engine._adapters.request.lora_int_id)
    assert max(gaps) < 1e-5  # a tenth of the limit
    assert len(ids) == 5  # no version can be taken for another one
    assert engine._engine.list_loras() == {max(ids)}


def test_an_adapter_that_is_withheld_is_seen_at_its_publication(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = start_learner()
    step(engine, learner, 0)
    monkeypatch.setattr(engine._engine, "add_lora", lambda request: True)
    with pytest.raises(StalePolicyError, match="21 of 21 layers"):
        InlinePublisher(learner, engine).publish(1)
    assert engine.policy_version == 0


def test_an_older_adapter_in_the_place_of_the_new_one_is_seen(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = start_learner()
    step(engine, learner, 0)
    InlinePublisher(learner, engine).publish(1)
    step(engine, learner, 1)
    # As if vLLM took the new id for one that it already holds.
    monkeypatch.setattr(engine._engine, "add_lora", lambda request: True)
    monkeypatch.setattr(engine._engine, "remove_lora", lambda number: True)
    monkeypatch.setattr(engine._adapters, "_count", engine._adapters._count - 1)
    with pytest.raises(StalePolicyError, match="of 21 layers"):
        InlinePublisher(learner, engine).publish(2)


@pytest.mark.parametrize("what", ["value", "beyond the rank", "another layer"])
def test_a_single_wrong_number_in_the_buffers_is_seen(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    learner = start_learner()
    add = engine._engine.add_lora

    def add_and_spoil(request: Any) -> bool:
        done = add(request)
        [manager] = engine._engine.collective_rpc(
            lambda worker: worker.model_runner.lora_manager._adapter_manager
        )
        qkv = manager.modules["model.layers.1.self_attn.qkv_proj"]
        row = 3 if what == "beyond the rank" else 0
        qkv.lora_a_stacked[2][0, 0, row, 5] += 1e-3
        return done

    monkeypatch.setattr(engine._engine, "add_lora", add_and_spoil)
    tensors = dict(learner.named_tensors())
    if what == "another layer":
        tensors = {name: t for name, t in tensors.items() if "layers.1.self_attn.v" not in name}
    with pytest.raises(StalePolicyError, match=r"\.1\.self_attn\.v_proj"):
        engine.load_weights(iter(tensors.items()), version=1)


def test_completions_without_the_adapter_are_refused_by_vllms_own_word(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = start_learner()
    InlinePublisher(learner, engine).publish(1)
    add = engine._engine.add_request
    monkeypatch.setattr(
        engine._engine,
        "add_request",
        lambda name, prompt, params, lora_request: add(name, prompt, params),
    )
    with pytest.raises(StalePolicyError, match="with adapter None"):
        list(engine.generate(real_parts.problems(1), step=1))


def test_completions_without_the_adapter_are_refused_by_their_logprobs(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = start_learner()
    step(engine, learner, 0)
    InlinePublisher(learner, engine).publish(1)
    engine._adapters.request = None  # every label says version 1
    before = learner.digests()
    with pytest.raises(StalePolicyError, match="step 1"):
        step(engine, learner, 1)
    assert learner.digests() == before


def test_nothing_published_is_no_publication(engine: VllmEngine) -> None:
    whole = load_model(MODEL, real_parts.CONFIG.model).named_parameters()
    with pytest.raises(StalePolicyError, match="version 1 is none"):
        engine.load_weights(whole, version=1)


def test_merged_and_adapter_exports_give_equal_logprobs_in_plain_vllm(
    engine: VllmEngine, tmp_path: Path, warm: WarmProcess
) -> None:
    learner = start_learner()
    publisher = InlinePublisher(learner, engine)
    for number in range(3):
        step(engine, learner, number)
        publisher.publish(number + 1)
    learner.export_policy(tmp_path / "policy")
    learner.export_adapter(tmp_path / "adapter")
    prompts = [[1, 20, 21, 22 + last] for last in range(3)]
    exported = {"policy": tmp_path / "policy", "base": MODEL, "adapter": MODEL}
    logprobs = {}
    for name, model in exported.items():
        order = {"model": str(model), "prompts": prompts, "max_tokens": 24}
        if name == "adapter":
            order["adapter"] = str(tmp_path / "adapter")
        done = answers(*warm.run(PROGRAM, json.dumps(order)))
        logprobs[name] = [answer["logprobs"] for answer in done]
    for mine, theirs in zip(logprobs["policy"], logprobs["adapter"], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
    assert logprobs["base"][0][0] != pytest.approx(logprobs["adapter"][0][0], abs=0.001)


def test_an_engine_that_starts_from_an_exported_adapter_samples_from_it(
    engine: VllmEngine, tmp_path: Path
) -> None:
    learner = start_learner()
    step(engine, learner, 0)
    InlinePublisher(learner, engine).publish(1)
    expected = list(engine.generate(real_parts.problems(2), step=1))
    learner.export_adapter(tmp_path / "adapter")
    engine._adapters.request = None
    engine._adapters.load_folder(tmp_path / "adapter", version=1)
    got = list(engine.generate(real_parts.problems(2), step=1))
    assert sorted(map(dataclasses.astuple, got), key=str) == sorted(
        map(dataclasses.astuple, expected), key=str
    )
