"""Every loss token exactly once, the denominator over the whole update, micro-batches in budget."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.batching import (
    BatchRules,
    collate,
    make_train_batches,
    plan_microbatches,
    row_tokens,
    share_prompts,
    split_by_tokens,
)
from rlreason.config import AlgorithmSection
from rlreason.types import Problem, Rollout, RolloutGroup, Score, ScoredGroup, TrainSequence

CPU = torch.device("cpu")


def group(
    slot: int,
    lengths: list[int],
    advantages: list[float],
    infra: tuple[int, ...] = (),
    cut: tuple[int, ...] = (),
) -> ScoredGroup:
    rollouts = tuple(
        Rollout(
            prompt_ids=(7, 8),
            completion_ids=tuple(range(10, 10 + length)),
            completion="x",
            rollout_logprobs=tuple(-0.1 * i for i in range(length)),
            finish_reason="length" if index in cut else "stop",
            policy_version=0,
        )
        for index, length in enumerate(lengths)
    )
    problem = Problem(id=str(slot), pool="pool", prompt="p")
    scores = tuple(
        Score(value=0.0, outcome="infra" if index in infra else "ok")
        for index in range(len(lengths))
    )
    return ScoredGroup(
        group=RolloutGroup(problem=problem, slot=slot, rollouts=rollouts),
        scores=scores,
        advantages=tuple(advantages),
    )


def test_groups_without_signal_leave_the_sequences_but_stay_in_the_denominator() -> None:
    scored = [group(0, [3, 4], [1.0, -1.0]), group(1, [5, 6], [0.0, 0.0])]
    [batch] = make_train_batches(scored, updates=1)
    assert [sequence.num_loss_tokens for sequence in batch.sequences] == [3, 4]
    assert batch.num_loss_tokens == 3 + 4 + 5 + 6


def test_a_kl_or_entropy_term_keeps_groups_without_signal() -> None:
    [batch] = make_train_batches(
        [group(0, [3, 4], [0.0, 0.0])], updates=1, rules=BatchRules(keep_without_signal=True)
    )
    assert len(batch.sequences) == 2


def test_what_is_left_out_still_counts_in_means_over_sequences() -> None:
    scored = [group(0, [3, 4], [1.0, -1.0]), group(1, [5, 6], [0.0, 0.0])]
    [batch] = make_train_batches(scored, updates=1)
    assert batch.num_left_out == 2
    assert batch.num_sequences == 4


def test_truncated_completions_can_be_left_out_of_everything() -> None:
    scored = [group(0, [3, 4], [1.0, -1.0], cut=(1,)), group(1, [5, 6], [0.0, 0.0], cut=(0,))]
    [batch] = make_train_batches(scored, updates=1, rules=BatchRules(drop_truncated=True))
    assert [sequence.num_loss_tokens for sequence in batch.sequences] == [3]
    assert (batch.num_loss_tokens, batch.num_sequences) == (3 + 6, 2)


def test_imitation_counts_what_was_accepted_alone() -> None:
    scored = [group(0, [3, 4], [1.0, 0.0]), group(1, [5, 6], [0.0, 0.0])]
    [batch] = make_train_batches(scored, updates=1, rules=BatchRules(accepted_only=True))
    assert [sequence.num_loss_tokens for sequence in batch.sequences] == [3]
    assert (batch.num_loss_tokens, batch.num_sequences) == (3, 1)


@pytest.mark.parametrize(
    ("loss", "every_group", "expected"),
    [
        ("clipped", False, BatchRules()),
        ("clipped", True, BatchRules(keep_without_signal=True)),
        ("distillation", False, BatchRules(keep_without_signal=True)),
        ("likelihood", False, BatchRules(accepted_only=True)),
    ],
)
def test_the_loss_says_what_an_update_needs(
    loss: str, every_group: bool, expected: BatchRules
) -> None:
    section = AlgorithmSection.model_validate({"loss": loss})
    assert BatchRules.of(section, every_group=every_group) == expected
    masking = AlgorithmSection.model_validate({"loss": loss, "mask_truncated": True})
    assert BatchRules.of(masking, every_group=every_group).drop_truncated


def test_completions_of_one_problem_share_a_group_that_no_other_has() -> None:
    scored = [group(4, [3, 4], [1.0, -1.0]), group(4, [5, 6], [1.0, -1.0])]
    [batch] = make_train_batches(scored, updates=1)
    assert [sequence.group for sequence in batch.sequences] == [0, 0, 1, 1]
    microbatch = collate([(sequence,) for sequence in batch.sequences[1:]], CPU)
    assert microbatch.groups.tolist() == [0, 1, 1]
    assert microbatch.sequences.size == 3
    assert microbatch.sequences.ids.tolist() == [0] * 4 + [1] * 5 + [2] * 6


def test_infra_faults_are_in_neither_sequences_nor_denominator() -> None:
    [batch] = make_train_batches([group(0, [3, 4, 5], [1.0, 0.0, -1.0], infra=(1,))], updates=1)
    assert [sequence.num_loss_tokens for sequence in batch.sequences] == [3, 5]
    assert batch.num_loss_tokens == 3 + 5


def test_a_step_without_signal_makes_no_batch() -> None:
    assert make_train_batches([group(0, [3, 4], [0.0, 0.0])], updates=1) == []


@given(num_groups=st.integers(1, 20), updates=st.integers(1, 6))
def test_updates_share_the_groups_out_without_loss(num_groups: int, updates: int) -> None:
    scored = [group(slot, [slot + 1, 2], [1.0, -1.0]) for slot in range(num_groups)]
    batches = make_train_batches(scored, updates=updates)
    lengths = [s.num_loss_tokens for batch in batches for s in batch.sequences]
    assert lengths == [n for slot in range(num_groups) for n in (slot + 1, 2)]
    assert len(batches) == min(updates, num_groups)
    assert all(b.num_loss_tokens == sum(s.num_loss_tokens for s in b.sequences) for b in batches)
    sizes = [len(batch.sequences) for batch in batches]
    assert max(sizes) - min(sizes) <= 2  # one group of two


def test_a_sequence_holds_each_field_on_the_token_it_describes() -> None:
    [batch] = make_train_batches([group(0, [2, 1], [0.5, -0.5])], updates=1)
    first = batch.sequences[0]
    assert first.token_ids == (7, 8, 10, 11)
    assert first.loss_mask == (False, False, True, True)
    assert first.advantages == (0.0, 0.0, 0.5, 0.5)
    assert first.rollout_logprobs == (0.0, 0.0, -0.0, -0.1)


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=40), budget=st.integers(1, 120))
def test_microbatches_hold_everything_once_within_the_budget(
    lengths: list[int], budget: int
) -> None:
    plan = split_by_tokens(lengths, budget)
    assert sorted(index for part in plan for index in part) == list(range(len(lengths)))
    for part in plan:
        padded = len(part) * max(lengths[index] for index in part)
        assert padded <= budget or len(part) == 1


def test_sorting_by_length_keeps_padding_small() -> None:
    lengths = [10, 1, 10, 1, 10, 1]
    plan = split_by_tokens(lengths, 30)
    padded = sum(len(part) * max(lengths[index] for index in part) for part in plan)
    assert padded == sum(lengths)


def test_collate_predicts_a_token_from_the_position_before_it() -> None:
    sequences = [
        TrainSequence(
            token_ids=(5, 6, 7),
            loss_mask=(False, True, True),
            advantages=(0.0, 1.0, 2.0),
            rollout_logprobs=(0.0, -1.0, -2.0),
        ),
        TrainSequence(
            token_ids=(8, 9),
            loss_mask=(False, True),
            advantages=(0.0, 3.0),
            rollout_logprobs=(0.0, -3.0),
        ),
    ]
    batch = collate([(sequence,) for sequence in sequences], CPU)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch.attention_mask is None  # padding on the right, where no real token looks
    assert batch.num_tokens == 5
    assert batch.position_ids is None
    assert batch.predicts.tolist() == [0, 1, 3]
    assert batch.num_tokens == 5
    assert batch.targets.tolist() == [6, 7, 9]
    assert batch.advantages.tolist() == [1.0, 2.0, 3.0]
    assert batch.rollout_logprobs is not None
    assert batch.rollout_logprobs.tolist() == [-1.0, -2.0, -3.0]


def sequence(prompt: tuple[int, ...], completion: tuple[int, ...]) -> TrainSequence:
    return TrainSequence(
        token_ids=prompt + completion,
        loss_mask=(False,) * len(prompt) + (True,) * len(completion),
        advantages=(0.0,) * len(prompt) + tuple(map(float, completion)),
        rollout_logprobs=None,
    )


def test_a_shared_prompt_is_there_once_and_each_sequence_sees_it_and_itself() -> None:
    row = (sequence((5, 6), (10, 11)), sequence((5, 6), (20,)))
    batch = collate([row, (sequence((7,), (30,)),)], CPU)
    assert batch.input_ids.tolist() == [[5, 6, 10, 11, 20], [7, 30, 0, 0, 0]]
    assert batch.position_ids is not None
    assert batch.position_ids.tolist()[0] == [0, 1, 2, 3, 2]
    assert batch.attention_mask is not None
    assert batch.attention_mask.int().tolist()[0] == [
        [
            [1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [1, 1, 1, 0, 0],
            [1, 1, 1, 1, 0],
            [1, 1, 0, 0, 1],  # not the other sequence's 10 and 11
        ]
    ]
    # The last token of the prompt predicts the first token of both sequences.
    assert batch.predicts.tolist() == [1, 2, 1, 5]
    assert batch.targets.tolist() == [10, 11, 20, 30]
    assert batch.advantages.tolist() == [10.0, 11.0, 20.0, 30.0]
    assert batch.num_tokens == 7


def test_a_mask_with_padding_leaves_no_token_blind() -> None:
    batch = collate([(sequence((5, 6), (10,)),) * 2, (sequence((7,), (30,)),)], CPU)
    assert batch.attention_mask is not None
    assert batch.attention_mask.any(dim=-1).all()  # a blind token's softmax would be NaN


@given(
    groups=st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.integers(1, 9), min_size=1, max_size=6)),
        min_size=1,
        max_size=6,
    ),
    max_tokens=st.integers(0, 40),
)
def test_rows_hold_every_sequence_once_behind_its_own_prompt(
    groups: list[tuple[int, list[int]]], max_tokens: int
) -> None:
    sequences = [
        sequence((kind,) * (2 + kind), tuple(range(10, 10 + length)))
        for kind, lengths in groups
        for length in lengths
    ]
    rows = share_prompts(sequences, max_tokens)
    assert sorted(id(s) for row in rows for s in row) == sorted(map(id, sequences))
    for row in rows:
        assert len({s.token_ids[:2] for s in row}) == 1
        assert len(row) == 1 or row_tokens(row) <= max_tokens


def test_prompts_are_shared_only_where_that_saves_a_fifth() -> None:
    short = [sequence((1,), (10,) * 9) for _ in range(4)]
    long = [sequence((1,) * 9, (10,)) for _ in range(4)]
    for sequences, rows in ((short, 4), (long, 1)):
        plan = plan_microbatches(sequences, budget=100, max_shared_row=100)
        assert sum(map(len, plan)) == rows
    # Without permission none is shared, whatever it would save.
    [rows] = plan_microbatches(long, budget=100, max_shared_row=0)
    assert len(rows) == 4


def test_shared_and_single_rows_are_in_micro_batches_of_their_own() -> None:
    shared = [sequence((1,) * 9, (10,)) for _ in range(4)]
    plan = plan_microbatches([*shared, sequence((2,), (10,) * 9)], budget=100, max_shared_row=20)
    assert [[len(row) for row in rows] for rows in plan] == [[1], [4]]


def test_sequences_that_nobody_sampled_have_no_rollout_logprobs() -> None:
    sequence = TrainSequence(
        token_ids=(5, 6), loss_mask=(False, True), advantages=(0.0, 1.0), rollout_logprobs=None
    )
    assert collate([(sequence,)], CPU).rollout_logprobs is None


def test_a_loss_on_the_first_token_is_refused() -> None:
    with pytest.raises(ValueError, match="first token"):
        TrainSequence(
            token_ids=(5, 6), loss_mask=(True, True), advantages=(0.0, 1.0), rollout_logprobs=None
        )
