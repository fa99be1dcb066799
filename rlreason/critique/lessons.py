"""What a policy is taught: a prompt that it reads and a text that it learns to write.

``lessons_of`` makes them for critique fine-tuning and for its baselines; ``encode`` turns each into
a sequence whose loss counts exactly the text and the end of the turn; ``batch_of`` deals them out.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rlreason.critique.records import Candidate, CritiqueExample, stable_hash
from rlreason.errors import DataError
from rlreason.types import Problem, TrainBatch, TrainSequence

METHODS = ("cft", "sft_one", "sft_all", "format_only")
"""Critique fine-tuning, and what it is compared with."""

CRITIC = "critic"
"""Pool of the prompts that ask for a critique; no pool of a recipe is called so."""

_DIGIT = re.compile(r"[0-9]")
_VERDICT = re.compile(r"(conclusion *: *\**)(right|wrong)", re.IGNORECASE)


class TurnCodec(Protocol):
    """Between text and token ids, for what the policy reads and for what it writes."""

    def encode(self, problem: Problem) -> tuple[int, ...]:
        """Prompt token ids, up to where the model's turn begins."""
        ...

    def encode_turn(self, text: str) -> tuple[int, ...]:
        """The model's turn, its end token included.

        Raises:
            DataError: If the tokens would not say the same as the text.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One thing to read and what to write then."""

    prompt: Problem
    target: str
    about: str
    """Key of the seed problem."""


def critic_prompt(
    render: Callable[[Problem, str], str], problem: Problem, solution: str
) -> Problem:
    """The prompt that asks for a critique of ``solution``."""
    text = render(problem, solution)
    return Problem(
        id=stable_hash(problem.key, solution),
        pool=CRITIC,
        prompt=text,
        answer=problem.answer,
        metadata={"candidate": solution},
    )


def lessons_of(
    method: str,
    examples: Sequence[CritiqueExample],
    candidates: Sequence[Candidate],
    *,
    seed: int,
    render: Callable[[Problem, str], str],
) -> list[Lesson]:
    """What ``method`` teaches. Only kept critiques and right candidates are used.

    Raises:
        DataError: If there is nothing to teach.
    """
    kept = [example for example in examples if example.dropped is None]
    if method in ("cft", "format_only"):
        rng = random.Random(f"format-{seed}")
        lessons = [
            Lesson(
                prompt=critic_prompt(render, example.problem, example.solution),
                target=example.critique if method == "cft" else scrambled(example.critique, rng),
                about=example.problem.key,
            )
            for example in kept
        ]
        remedy = "ask for more candidates or other teachers; the filter's report says why"
    else:
        lessons = _solutions(candidates, seed if method == "sft_one" else None)
        remedy = "ask for more candidates, or take a seed problem that is solved more often"
    if not lessons:
        raise DataError(f"{method}: nothing is left to train on; {remedy}")
    return lessons


def _solutions(candidates: Sequence[Candidate], seed: int | None) -> list[Lesson]:
    """Every different verified solution, or with ``seed`` one of each problem."""
    by_problem: dict[str, dict[str, Lesson]] = {}
    for candidate in candidates:
        if candidate.correct and candidate.finish_reason == "stop":
            key = candidate.problem.key
            lesson = Lesson(prompt=candidate.problem, target=candidate.solution, about=key)
            by_problem.setdefault(key, {}).setdefault(candidate.solution, lesson)
    if seed is None:
        return [lesson for lessons in by_problem.values() for lesson in lessons.values()]
    return [
        min(lessons.values(), key=lambda lesson: stable_hash(seed, lesson.about, lesson.target))
        for lessons in by_problem.values()
    ]


def scrambled(critique: str, rng: random.Random) -> str:
    """The critique's form without its content: digits drawn anew, the verdict by a coin."""
    text = _DIGIT.sub(lambda _: str(rng.randrange(10)), critique)
    return _VERDICT.sub(lambda found: found[1] + rng.choice(("right", "wrong")), text)


def encode(
    lessons: Sequence[Lesson], codec: TurnCodec, *, max_tokens: int
) -> tuple[list[TrainSequence], Mapping[str, int]]:
    """A sequence per usable lesson, and how many are left out for which reason.

    Raises:
        DataError: If none is usable, quoting the first reason.
    """
    sequences: list[TrainSequence] = []
    left_out: Counter[str] = Counter()
    first = ""
    for lesson in lessons:
        try:
            sequences.append(_sequence(lesson, codec, max_tokens))
        except DataError as fault:
            left_out[str(fault).partition(":")[0]] += 1
            first = first or str(fault)
    if not sequences:
        raise DataError(
            f"none of {len(lessons)} training examples can be used ({dict(left_out)}); "
            f"the first: {first}"
        )
    return sequences, dict(left_out)


def _sequence(lesson: Lesson, codec: TurnCodec, max_tokens: int) -> TrainSequence:
    prompt, turn = codec.encode(lesson.prompt), codec.encode_turn(lesson.target)
    if len(prompt) + len(turn) > max_tokens:
        raise DataError(f"too long: {len(prompt) + len(turn)} tokens, at most {max_tokens}")
    return TrainSequence(
        token_ids=prompt + turn,
        loss_mask=(False,) * len(prompt) + (True,) * len(turn),
        # Weight 1 on every token: the policy gradient is then that of the log-likelihood.
        advantages=(0.0,) * len(prompt) + (1.0,) * len(turn),
        rollout_logprobs=None,
    )


def batch_of(
    sequences: Sequence[TrainSequence], *, update: int, batch_size: int, seed: int
) -> TrainBatch:
    """The batch of an update: passes over the data one after the other, each in its own order.

    A function of its arguments alone, so that a resumed training needs no cursor.
    """
    count = len(sequences)
    positions = range(update * batch_size, (update + 1) * batch_size)
    orders = {number: _order(count, seed, number) for number in {p // count for p in positions}}
    chosen = tuple(sequences[orders[p // count][p % count]] for p in positions)
    return TrainBatch(
        sequences=chosen, num_loss_tokens=sum(sequence.num_loss_tokens for sequence in chosen)
    )


def _order(count: int, seed: int, number: int) -> list[int]:
    order = list(range(count))
    random.Random(f"order-{seed}-{number}").shuffle(order)
    return order
