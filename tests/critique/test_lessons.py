"""What the policy is taught: exactly the text and the end of its turn, in a seeded order."""

import random
from collections import Counter

import critique_parts as parts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from rlreason.config import PromptSection
from rlreason.critique.lessons import (
    CRITIC,
    Lesson,
    batch_of,
    critic_prompt,
    encode,
    lessons_of,
    scrambled,
)
from rlreason.critique.records import CritiqueExample
from rlreason.data.prompts import PromptEncoder
from rlreason.errors import DataError
from rlreason.models import resolve_model
from rlreason.types import Problem, TrainSequence

WRONG = "<think>7+5+0=12;4+8+0=12;3+2+0=5</think>\\boxed{522}"
RIGHT = "<think>7+5+0=12;4+8+1=13;3+2+1=6</think>\\boxed{632}"
CRITIQUE = "<think>7+5+0=12;4+8+1=13!;3+2+1=6!</think>\\boxed{632}\nConclusion: wrong"


def render(problem: Problem, solution: str) -> str:
    return f"{problem.prompt}|{solution}?"


@pytest.fixture(scope="module")
def codec() -> PromptEncoder:
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("tiny-arithmetic-critic"))
    return PromptEncoder(tokenizer, PromptSection())


def example(critique: str = CRITIQUE, **changes: object) -> CritiqueExample:
    values = {
        "problem": parts.problem(),
        "solution": WRONG,
        "critique": critique,
        "verdict": False,
        "corrected": True,
        "candidate_correct": False,
        "generator": "g",
        "teacher": "t",
        "candidate_id": "c",
        "response_id": "r",
    }
    return CritiqueExample(**(values | changes))


def halves(codec: PromptEncoder, sequence: TrainSequence) -> tuple[str, str]:
    """What the loss does not count and what it counts, decoded with every control token."""
    sides = [
        [
            t
            for t, counted in zip(sequence.token_ids, sequence.loss_mask, strict=True)
            if counted is side
        ]
        for side in (False, True)
    ]
    read, learned = (codec.tokenizer.decode(ids, skip_special_tokens=False) for ids in sides)
    return read, learned


def test_the_loss_counts_the_critique_and_the_end_of_the_turn_and_nothing_else(
    codec: PromptEncoder,
) -> None:
    lessons = lessons_of("cft", [example()], [], seed=0, render=render)
    [sequence], left_out = encode(lessons, codec, max_tokens=256)
    read, learned = halves(codec, sequence)
    assert learned == f"{CRITIQUE}<eos>"
    assert read == f"<bos>add 347+285|{WRONG}?\n"
    assert sequence.rollout_logprobs is None
    assert {a for a, m in zip(sequence.advantages, sequence.loss_mask, strict=True) if m} == {1.0}
    assert left_out == {}


def test_a_baseline_learns_the_solution_behind_the_plain_problem(codec: PromptEncoder) -> None:
    candidates = [parts.candidate(RIGHT, True), parts.candidate(WRONG, False)]
    lessons = lessons_of("sft_all", [], candidates, seed=0, render=render)
    [sequence], _ = encode(lessons, codec, max_tokens=256)
    assert halves(codec, sequence) == ("<bos>add 347+285\n", f"{RIGHT}<eos>")


def test_a_dropped_critique_is_not_taught() -> None:
    kept, dropped = example(), example("no", dropped="no_verdict", verdict=None)
    lessons = lessons_of("cft", [dropped, kept], [], seed=0, render=render)
    assert [lesson.target for lesson in lessons] == [CRITIQUE]
    with pytest.raises(DataError, match="nothing is left to train on"):
        lessons_of("cft", [dropped], [], seed=0, render=render)


def test_one_solution_is_one_of_each_problem_drawn_by_the_seed() -> None:
    texts = [f"{RIGHT} {number}" for number in range(20)]
    candidates = [parts.candidate(text, True, sample=n) for n, text in enumerate([*texts, *texts])]
    drawn = {
        lesson.target
        for seed in range(8)
        for lesson in lessons_of("sft_one", [], candidates, seed=seed, render=render)
    }
    assert 3 < len(drawn) <= 8
    again = lessons_of("sft_one", [], candidates, seed=3, render=render)
    assert again == lessons_of("sft_one", [], candidates, seed=3, render=render)
    assert len(again) == 1
    assert len(lessons_of("sft_all", [], candidates, seed=0, render=render)) == 20


def test_without_a_right_candidate_the_baseline_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"sft_one: nothing is left .* solved more often"):
        lessons_of("sft_one", [], [parts.candidate(WRONG, False)], seed=0, render=render)


def test_the_form_only_control_keeps_the_form_and_loses_the_content() -> None:
    rng = random.Random(0)
    texts = [scrambled(CRITIQUE, rng) for _ in range(40)]
    forms = {"".join("#" if c.isdigit() else c for c in text) for text in texts}
    form = "".join("#" if c.isdigit() else c for c in CRITIQUE)
    assert forms == {form, form.replace("wrong", "right")}
    assert len(set(texts)) == 40
    assert 10 < sum(text.endswith("right") for text in texts) < 30


def test_text_that_the_model_cannot_write_is_left_out_and_counted(codec: PromptEncoder) -> None:
    prompt = critic_prompt(render, parts.problem(), WRONG)
    assert prompt.pool == CRITIC
    targets = [CRITIQUE, "ends here<eos> and goes on", "ünïcode", "1" * 300]
    lessons = [Lesson(prompt=prompt, target=target, about="x") for target in targets]
    sequences, left_out = encode(lessons, codec, max_tokens=256)
    assert len(sequences) == 1
    assert left_out == {"control token": 1, "not in the vocabulary": 1, "too long": 1}
    with pytest.raises(DataError, match="none of 1 training examples can be used"):
        encode(lessons[1:2], codec, max_tokens=256)


def numbered(count: int) -> list[TrainSequence]:
    return [
        TrainSequence(
            token_ids=(1, number),
            loss_mask=(False, True),
            advantages=(0.0, 1.0),
            rollout_logprobs=None,
        )
        for number in range(count)
    ]


@given(count=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 99))
def test_every_pass_takes_every_example_once(count: int, batch_size: int, seed: int) -> None:
    sequences = numbered(count)
    drawn: list[int] = []
    update = 0
    while len(drawn) < 3 * count:
        batch = batch_of(sequences, update=update, batch_size=batch_size, seed=seed)
        assert len(batch.sequences) == batch_size == batch.num_loss_tokens
        drawn += [sequence.token_ids[1] for sequence in batch.sequences]
        update += 1
    for number in range(3):
        once = drawn[number * count : (number + 1) * count]
        assert Counter(once) == Counter(range(count))


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    sequences = numbered(32)
    orders = {
        tuple(
            s.token_ids[1]
            for s in batch_of(sequences, update=update, batch_size=32, seed=seed).sequences
        )
        for seed in (0, 1)
        for update in (0, 1)
    }
    assert len(orders) == 4
