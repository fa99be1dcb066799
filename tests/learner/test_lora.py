"""LoRA in the learner: what trains, what it is exported as, and how it goes on after a stop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from test_deepspeed_learner import (
    MODEL,
    SECTION,
    make_batch,
    plain_logprobs,
    relative_gap,
    with_logprobs_of,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlreason.cluster.inline import prepare_process
from rlreason.config import AlgorithmSection, ClusterSection, LearnerSection, LoraSection
from rlreason.errors import CheckpointError
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.learner.lora import Adapter
from rlreason.learner.policy import load_model

IDS = (1, 20, 21, 22, 5)


@pytest.fixture(scope="module", autouse=True)
def _process() -> None:
    prepare_process(ClusterSection(threads=1))


def make_learner(
    saved: Path | None = None, *, algorithm: dict[str, Any] | None = None, **options: Any
) -> DeepSpeedLearner:
    lora = LoraSection.model_validate({"rank": 4, "alpha": 8} | options.pop("lora", {}))
    dtype = options.pop("dtype", "float32")
    model = load_model(MODEL, SECTION.model_copy(update={"dtype": dtype}))
    section = LearnerSection.model_validate({"learning_rate": 1e-2, "lora": lora} | options)
    return DeepSpeedLearner(
        Adapter(model, lora, seed=3, base=MODEL, saved=saved),
        AutoTokenizer.from_pretrained(MODEL),
        learner=section,
        algorithm=AlgorithmSection.model_validate(algorithm or {}),
        temperature=0.8,
        total_steps=10,
    )


def save(learner: DeepSpeedLearner, folder: Path) -> Path:
    for name in ("policy", "learner"):
        (folder / name).mkdir(parents=True)
    learner.export_policy(folder / "policy")
    learner.export_adapter(folder / "adapter")
    learner.save(folder / "learner")
    return folder


def base_weights(learner: DeepSpeedLearner) -> dict[str, torch.Tensor]:
    return {n: p.clone() for n, p in learner._model.named_parameters() if "lora_" not in n}


def test_an_update_moves_the_adapter_and_nothing_else() -> None:
    learner = make_learner()
    before = base_weights(learner)
    adapter = {n: t.clone() for n, t in learner._weights.trained()}
    stats = learner.update([make_batch()], step=0)
    assert stats.grad_norm > 0
    assert all(torch.equal(t, before[n]) for n, t in base_weights(learner).items())
    after = dict(learner._weights.trained())
    assert {n for n in after if not torch.equal(after[n], adapter[n])} == {
        n
        for n in after
        if "lora_B" in n  # A has no gradient while B is 0
    }
    # Two moments for each of A and B of 3 layers x 7 matrices, for nothing else.
    assert len(dict(learner._optimizer_state.tensors())) == 2 * 2 * 3 * 7


def test_a_new_adapter_changes_nothing_and_depends_on_the_seed_alone() -> None:
    torch.manual_seed(11)
    one = make_learner()
    state = torch.get_rng_state()
    torch.manual_seed(12)
    two = make_learner()
    assert one.digests() == two.digests()
    torch.manual_seed(11)
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers were used
    shipped = AutoModelForCausalLM.from_pretrained(MODEL)
    assert all(torch.equal(t, shipped.get_parameter(n)) for n, t in one.named_tensors())
    with torch.no_grad():
        assert torch.equal(plain_logprobs(one._model, IDS), plain_logprobs(shipped, IDS))


def test_the_gradient_is_that_of_peft_in_plain_torch(tmp_path: Path) -> None:
    learner = make_learner()
    learner.update([make_batch()], step=0)
    batch = with_logprobs_of(learner, make_batch(seed=4))
    learner.export_adapter(tmp_path / "adapter")
    shipped = AutoModelForCausalLM.from_pretrained(MODEL)
    plain = PeftModel.from_pretrained(shipped, tmp_path / "adapter", is_trainable=True)
    loss = torch.zeros(())
    for sequence in batch.sequences:
        logprobs = plain_logprobs(plain, sequence.token_ids)
        advantages = torch.tensor(sequence.advantages[1:])
        mask = torch.tensor(sequence.loss_mask[1:])
        surrogate = (logprobs - logprobs.detach()).exp() * advantages
        loss = loss - surrogate[mask].sum() / batch.num_loss_tokens
    loss.backward()
    expected = {
        name.removeprefix("base_model.model."): parameter.grad
        for name, parameter in plain.named_parameters()
        if parameter.requires_grad
    }
    learner._accumulate(batch, learner._microbatches(batch), None)
    mine = {n: p.grad for n, p in learner._model.named_parameters() if p.requires_grad}
    assert relative_gap(mine, expected) < 1e-5


def test_merged_and_adapter_exports_give_the_learners_logprobs(tmp_path: Path) -> None:
    learner = make_learner()
    for step in range(2):
        learner.update([with_logprobs_of(learner, make_batch())], step=step)
    save(learner, tmp_path)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "policy")
    shipped = AutoModelForCausalLM.from_pretrained(MODEL)
    with torch.no_grad():
        expected, before = (plain_logprobs(m, IDS) for m in (learner._model, shipped))
        assert (expected - before).abs().max() > 0.01
        torch.testing.assert_close(plain_logprobs(merged, IDS), expected, atol=1e-5, rtol=0)
        adapted = PeftModel.from_pretrained(shipped, tmp_path / "adapter")
        torch.testing.assert_close(plain_logprobs(adapted, IDS), expected, atol=1e-5, rtol=0)
    names = load_file(tmp_path / "policy" / "model.safetensors").keys()
    assert names == load_file(MODEL / "model.safetensors").keys()


def test_merging_again_and_again_leaves_the_weights_where_they_are() -> None:
    learner = make_learner()
    learner.update([make_batch()], step=0)
    first = {name: tensor.clone() for name, tensor in learner.named_tensors()}
    base = base_weights(learner)
    for _ in range(5):
        again = dict(learner.named_tensors())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(t, base[n]) for n, t in base_weights(learner).items())


def test_what_is_published_is_what_the_recipe_says() -> None:
    learner = make_learner(lora={"publish": "adapter", "target_modules": ["q_proj", "v_proj"]})
    names = {name for name, _ in learner.named_tensors()}
    assert names == {
        f"base_model.model.model.layers.{layer}.self_attn.{module}.{part}.weight"
        for layer in range(3)
        for module in ("q_proj", "v_proj")
        for part in ("lora_A", "lora_B")
    }


@pytest.mark.parametrize(
    "options",
    [
        {"zero_stage": 0},
        {"zero_stage": 2},
        {"zero_stage": 1, "dtype": "bfloat16", "mismatch_limit": 1.0},
        {"zero_stage": 0, "algorithm": {"kl": 0.2}, "lora": {"rank": 3}},
    ],
    ids=["zero0", "zero2", "bfloat16", "reference"],
)
def test_a_loaded_learner_continues_to_the_same_bits(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    straight = make_learner(**options)
    straight.update([make_batch()], step=0)
    if "algorithm" in options:
        straight.refresh_reference()
    folder = save(straight, tmp_path)
    resumed = make_learner(folder / "adapter", **options)
    resumed.load(folder / "learner")
    assert resumed.digests() == straight.digests()
    unsampled = [replace(one, rollout_logprobs=None) for one in make_batch(seed=5).sequences]
    batch = replace(make_batch(seed=5), sequences=tuple(unsampled))
    for learner in (straight, resumed):
        learner.update([batch], step=1)
    assert resumed.digests() == straight.digests()
    published = [dict(learner.named_tensors()) for learner in (straight, resumed)]
    assert all(torch.equal(published[0][name], published[1][name]) for name in published[0])


def test_the_reference_is_the_model_below_until_it_is_refreshed() -> None:
    learner = make_learner(algorithm={"kl": 0.2})
    learner.update([make_batch()], step=0)
    batch = with_logprobs_of(learner, make_batch(seed=6))
    shipped = AutoModelForCausalLM.from_pretrained(MODEL)

    def expected(model: Any) -> torch.Tensor:
        with torch.no_grad():
            rows = [
                plain_logprobs(model, s.token_ids)[torch.tensor(s.loss_mask[1:])]
                for s in batch.sequences
            ]
        return torch.cat(rows)

    def got() -> torch.Tensor:
        return torch.tensor([v for row in learner.reference_logprobs(batch.sequences) for v in row])

    torch.testing.assert_close(got(), expected(shipped), atol=1e-5, rtol=0)
    assert (got() - expected(learner._model)).abs().max() > 1e-3
    learner.refresh_reference()
    frozen = expected(learner._model)
    assert learner.digests()["reference"] == learner.digests()["parameters"]
    learner.update([batch], step=1)
    torch.testing.assert_close(got(), frozen, atol=1e-5, rtol=0)
    assert (got() - expected(learner._model)).abs().max() > 1e-4


def test_an_adapter_of_another_shape_is_refused(tmp_path: Path) -> None:
    make_learner().export_adapter(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="another adapter"):
        make_learner(tmp_path / "adapter", lora={"rank": 5})
    with pytest.raises(CheckpointError, match="another adapter"):
        make_learner(tmp_path / "adapter", lora={"target_modules": ["q_proj"]})
    with pytest.raises(CheckpointError, match="holds no adapter"):
        make_learner(tmp_path / "nothing")


def test_digests_see_a_changed_base() -> None:
    one, two = make_learner(), make_learner()
    with torch.no_grad():
        two._model.model.norm.weight[0] += 1e-3
    assert one.digests()["base"] != two.digests()["base"]
    assert one.digests()["parameters"] == two.digests()["parameters"]
