"""The real vLLM engine on the shipped model, against plain transformers."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import real_parts
import torch
from transformers import AutoModelForCausalLM

from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.rollout.memory import BLOCK_TOKENS, MIN_CONCURRENT
from rlreason.rollout.requests import RequestMaker
from rlreason.rollout.vllm_engine import MIN_BATCHED_TOKENS, VllmEngine
from rlreason.types import Rollout, RolloutGroup
from rlreason.weights.inline import InlinePublisher


@pytest.fixture(scope="module")
def engine() -> VllmEngine:
    return real_parts.start_engine()


@pytest.fixture(autouse=True)
def _shipped_weights(engine: VllmEngine) -> Iterator[None]:
    yield
    real_parts.reset(engine)


def in_order(groups: Iterator[RolloutGroup]) -> list[RolloutGroup]:
    return sorted(groups, key=lambda group: group.slot)


def forward_logprobs(rollout: Rollout, temperature: float) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(real_parts.MODEL)
    ids = torch.tensor([rollout.prompt_ids + rollout.completion_ids])
    with torch.no_grad():
        logprobs = (model(ids).logits[0, :-1] / temperature).log_softmax(-1)
    sampled = logprobs.gather(-1, ids[0, 1:, None]).squeeze(-1)
    return sampled[len(rollout.prompt_ids) - 1 :]


def test_logprobs_are_those_of_the_tempered_distribution_sampled_from(engine: VllmEngine) -> None:
    for group in engine.generate(real_parts.problems(4), step=0):
        for rollout in group.rollouts:
            expected = forward_logprobs(rollout, temperature=0.8)
            got = torch.tensor(rollout.rollout_logprobs)
            torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_groups_are_whole_and_carry_version_slot_and_text(engine: VllmEngine) -> None:
    drawn = real_parts.problems(4)
    groups = in_order(engine.generate(drawn, step=0))
    assert [group.slot for group in groups] == [0, 1, 2, 3]
    assert [group.problem for group in groups] == drawn
    codec = real_parts.encoder()
    eos = codec.tokenizer.eos_token_id
    for group in groups:
        assert len(group.rollouts) == 4
        for rollout in group.rollouts:
            assert rollout.policy_version == 0
            assert rollout.prompt_ids == codec.encode(group.problem)
            assert rollout.completion == codec.decode(rollout.completion_ids)
            # The end token is part of what was sampled, and nothing comes after it.
            ended = rollout.completion_ids[-1] == eos
            assert ended == (rollout.finish_reason == "stop")
            assert eos not in rollout.completion_ids[:-1]


def test_a_step_is_sampled_again_to_the_bit_and_another_step_is_not(engine: VllmEngine) -> None:
    drawn = real_parts.problems(3)
    first, again, other = (in_order(engine.generate(drawn, step=step)) for step in (5, 5, 6))
    assert first == again
    assert first != other


def test_equal_prompts_in_neighbouring_slots_share_no_random_numbers(engine: VllmEngine) -> None:
    # vLLM seeds child i with seed + i: with neighbouring request seeds, child i of slot s would
    # repeat child i + 1 of slot s - 1, and all twelve of these pairs would be equal.
    problem = real_parts.problems(1, digits=5)[0]
    groups = in_order(engine.generate([problem] * 5, step=0))
    repeats = [
        left.rollouts[child + 1].rollout_logprobs == right.rollouts[child].rollout_logprobs
        for left, right in pairwise(groups)
        for child in range(3)
    ]
    assert sum(repeats) < len(repeats) // 2 + 1


def test_a_later_draw_of_a_step_has_slots_and_seeds_of_its_own(engine: VllmEngine) -> None:
    drawn = real_parts.problems(3)
    whole = in_order(engine.generate(drawn, step=5))
    later = in_order(engine.generate(drawn, step=5, first_slot=2))
    assert [group.slot for group in later] == [2, 3, 4]
    ids = [[r.completion_ids for r in group.rollouts] for group in (*whole, *later)]
    assert len({str(one) for one in ids}) == 6
    # The slot alone seeds: problem 2 in slot 2 is what it was in the first draw.
    [again] = engine.generate(drawn[2:], step=5, first_slot=2)
    assert again == whole[2]


def test_greedy_companions_change_no_sample(engine: VllmEngine) -> None:
    drawn = real_parts.problems(4)
    groups = in_order(engine.generate(drawn, step=1, first_slot=3, with_greedy=True))
    plain = in_order(engine.generate(drawn, step=1, first_slot=3))
    sampled = [group for group in groups if not group.greedy]
    assert [[r.completion_ids for r in group.rollouts] for group in sampled] == [
        [r.completion_ids for r in group.rollouts] for group in plain
    ]
    greedy = [group for group in groups if group.greedy]
    alone = in_order(engine.evaluate(drawn, samples=1, greedy=True))
    assert [group.slot for group in greedy] == [3, 4, 5, 6]
    assert [group.rollouts[0].completion_ids for group in greedy] == [
        group.rollouts[0].completion_ids for group in alone
    ]


def test_greedy_evaluation_equals_transformers_generate(engine: VllmEngine) -> None:
    drawn = real_parts.problems(8)
    model = AutoModelForCausalLM.from_pretrained(real_parts.MODEL)
    for group in engine.evaluate(drawn, samples=1, greedy=True):
        [rollout] = group.rollouts
        prompt = torch.tensor([rollout.prompt_ids])
        expected = model.generate(prompt, max_new_tokens=48, do_sample=False)
        assert list(rollout.completion_ids) == expected[0, len(rollout.prompt_ids) :].tolist()


def test_new_weights_answer_as_a_fresh_engine_would(engine: VllmEngine) -> None:
    learner = real_parts.start_learner(learning_rate=3e-3)
    publisher = InlinePublisher(learner, engine)
    for step in range(3):
        learner.update(real_parts.sample_batch(engine, step), step=step)
        publisher.publish(step + 1)
    assert engine.policy_version == 3
    for group in engine.evaluate(real_parts.problems(8), samples=1, greedy=True):
        [rollout] = group.rollouts
        assert rollout.policy_version == 3
        prompt = torch.tensor([rollout.prompt_ids])
        expected = plain_copy(learner).generate(prompt, max_new_tokens=48, do_sample=False)
        assert list(rollout.completion_ids) == expected[0, len(rollout.prompt_ids) :].tolist()


def plain_copy(learner: DeepSpeedLearner) -> AutoModelForCausalLM:
    model = AutoModelForCausalLM.from_pretrained(real_parts.MODEL)
    model.load_state_dict(dict(learner.named_tensors()), strict=False)
    model.tie_weights()
    return model


def test_more_prompts_than_one_forward_takes_can_be_sampled(engine: VllmEngine) -> None:
    # A seeded prompt split over two forwards would end vLLM on a CPU.
    drawn = [
        replace(problem, prompt=str(problem.prompt) * 5) for problem in real_parts.problems(64)
    ]
    groups = list(engine.generate(drawn, step=0))
    assert all(len(group.rollouts) == 4 for group in groups)
    # All at once; the samples of a group share the whole blocks of their prompt, and no more.
    assert 4 * len(drawn) == MIN_CONCURRENT
    lengths = [len(group.rollouts[0].prompt_ids) for group in groups]
    assert sum(4 * length - 3 * BLOCK_TOKENS for length in lengths) > MIN_BATCHED_TOKENS


def test_every_call_starts_from_an_empty_prefix_cache(
    engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    reset, add = engine._engine.reset_prefix_cache, engine._engine.add_request
    monkeypatch.setattr(
        engine._engine, "reset_prefix_cache", lambda: events.append("reset") or reset()
    )
    monkeypatch.setattr(
        engine._engine,
        "add_request",
        lambda *request, **more: events.append("add") or add(*request, **more),
    )
    drawn = real_parts.problems(2)
    list(engine.evaluate(drawn, samples=2, greedy=False))
    list(engine.generate(drawn, step=0))
    assert events == ["reset", "add", "add"] * 2


def test_the_prefix_cache_does_not_outlive_the_weights(engine: VllmEngine) -> None:
    # A prompt of more than one cache block, so that its keys and values would be reused.
    problem = real_parts.problems(1)[0]
    long = type(problem)(id="long", pool="add3", prompt=str(problem.prompt) * 4)
    before = list(engine.evaluate([long], samples=1, greedy=True))
    learner = real_parts.start_learner(learning_rate=3e-3)
    learner.update(real_parts.sample_batch(engine, 0), step=0)
    InlinePublisher(learner, engine).publish(1)
    [group] = engine.evaluate([long], samples=1, greedy=True)
    expected = learner_logprobs(learner, group.rollouts[0])
    got = torch.tensor(group.rollouts[0].rollout_logprobs)
    assert before[0].rollouts[0].rollout_logprobs != group.rollouts[0].rollout_logprobs
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def learner_logprobs(learner: DeepSpeedLearner, rollout: Rollout) -> torch.Tensor:
    ids = torch.tensor([rollout.prompt_ids + rollout.completion_ids])
    with torch.no_grad():
        logprobs = plain_copy(learner)(ids).logits[0, :-1].log_softmax(-1)
    sampled = logprobs.gather(-1, ids[0, 1:, None]).squeeze(-1)
    return sampled[len(rollout.prompt_ids) - 1 :]


def test_a_probe_is_short_and_sampled_as_for_training(engine: VllmEngine) -> None:
    groups = in_order(engine.probe(real_parts.problems(4), version=3, tokens=6))
    rollouts = [group.rollouts[0] for group in groups]
    assert [len(group.rollouts) for group in groups] == [1] * 4
    assert [len(rollout.completion_ids) for rollout in rollouts] == [6] * 4
    for rollout in rollouts:
        expected = forward_logprobs(rollout, temperature=0.8)
        got = torch.tensor(rollout.rollout_logprobs)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_no_two_versions_are_probed_with_the_same_random_numbers() -> None:
    make = RequestMaker(real_parts.CONFIG)
    seeds = [
        request.seed
        for version in (3, 4)
        for request in make.probe(real_parts.problems(4), version=version, tokens=6)
    ]
    assert len(set(seeds)) == 8
