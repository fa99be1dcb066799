"""The records that flow through a step: Problem -> RolloutGroup -> ScoredGroup -> TrainBatch.

All are frozen and checked at construction, so a record that exists is a record that holds.
Index ``t`` of any per-token field describes ``token_ids[t]`` itself. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypedDict

Outcome = Literal["ok", "unparseable", "over_limit", "timeout", "crash", "infra"]
"""How scoring one completion ended. All but ``infra`` are the model's doing and score the floor."""

FinishReason = Literal["stop", "length"]
"""``stop``: the model ended its turn. ``length``: it was cut at max_completion_tokens."""


class Message(TypedDict):
    """One chat turn."""

    role: str
    content: str


Prompt = str | tuple[Message, ...]
"""Plain text, or chat turns. Which of them meets a chat template is decided in data/prompts.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question, its answer if known, and the pool that it came from."""

    id: str
    """Unique in its pool and stable across runs."""
    pool: str
    prompt: Prompt
    answer: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id or not self.pool or not self.prompt:
            raise ValueError(f"a problem needs an id, a pool and a prompt, got {self!r:.200}")

    @property
    def key(self) -> str:
        """``pool/id``: names the problem in logs and messages."""
        return f"{self.pool}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """What a curriculum is told of a pool before the first step."""

    size: int
    """Training problems."""
    reward_bounds: tuple[float, float]
    """Lowest and highest value of the reward that scores it in training."""

    def __post_init__(self) -> None:
        low, high = self.reward_bounds
        if self.size < 0 or not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"a pool needs size >= 0 and bounds low < high, got {self!r}")

    def scaled(self, reward: float) -> float:
        """``reward`` as a share of the way from the lowest to the highest value."""
        low, high = self.reward_bounds
        return (reward - low) / (high - low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One sampled completion."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """Sampled tokens, the end-of-turn token included when there is one."""
    completion: str
    """Decoded completion without special tokens."""
    rollout_logprobs: tuple[float, ...]
    """[completion] nats, of the distribution sampled from (temperature included)."""
    finish_reason: FinishReason
    policy_version: int
    """Optimizer steps behind the weights that the engine held while sampling."""

    def __post_init__(self) -> None:
        if not self.prompt_ids or not self.completion_ids:
            raise ValueError("a rollout needs at least one prompt token and one completion token")
        if len(self.rollout_logprobs) != len(self.completion_ids):
            raise ValueError(
                f"{len(self.rollout_logprobs)} logprobs for "
                f"{len(self.completion_ids)} completion tokens"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutGroup:
    """All completions of one problem in one step. Identity, not text, makes a group."""

    problem: Problem
    slot: int
    """Position in the step's draw; groups finish in any order and are sorted by it."""
    rollouts: tuple[Rollout, ...]
    greedy: bool = False
    """True for the one greedy completion that a baseline comes from; it shares the slot of the
    group that it is the baseline of."""

    def __post_init__(self) -> None:
        if not self.rollouts:
            raise ValueError(f"problem {self.problem.key}: a group needs at least one rollout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a reward says of one completion."""

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)
    """Named components, for the log only."""
    outcome: Outcome = "ok"
    seconds: float = 0.0
    """Wall time in the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The greedy completion of a problem and its score: what ReMax compares samples with."""

    rollout: Rollout
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredGroup:
    """A group with its scores and advantages, in the order of the rollouts."""

    group: RolloutGroup
    scores: tuple[Score, ...]
    advantages: tuple[float, ...]
    """[group_size] relative to the group; 0 where the outcome is ``infra``."""
    baseline: Baseline | None = None
    """Where ``algorithm.advantage`` compares with a greedy completion."""
    reference_kl: tuple[float, ...] | None = None
    """[group_size] nats per completion, where the KL penalty is part of the reward."""

    def __post_init__(self) -> None:
        size = len(self.group.rollouts)
        if len(self.scores) != size or len(self.advantages) != size:
            raise ValueError(
                f"problem {self.problem.key}: {size} rollouts, {len(self.scores)} scores, "
                f"{len(self.advantages)} advantages"
            )

    @property
    def problem(self) -> Problem:
        """The group's problem."""
        return self.group.problem

    @property
    def counted(self) -> tuple[bool, ...]:
        """[group_size] False where an ``infra`` fault hides what the reward would have said."""
        return tuple(score.outcome != "infra" for score in self.scores)

    @property
    def has_signal(self) -> bool:
        """Whether any advantage is non-zero: else the group's policy gradient is zero."""
        return any(advantage != 0.0 for advantage in self.advantages)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """One text to be written: a candidate solution, or a critique of one."""

    key: str
    """Unique among the requests of a call; the reply bears it."""
    problem: Problem
    prompt: Prompt
    """What the writer reads, template filled in."""
    solution: str | None = None
    """The solution to criticise; None where a solution is asked for."""
    sample: int = 0
    """Counts the texts wanted for one problem, or for one solution, from 0."""
    seed: int = 0
    """For writers that draw at random: unrelated between requests, equal when asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReply:
    """What came of a TextRequest."""

    key: str
    """The request's."""
    text: str
    """As written; empty where there is an error."""
    finish_reason: str = "stop"
    """``stop``, ``length``, or the word of an endpoint for anything else."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    """In the currency of the prices given; None where no price is known."""
    attempts: int = 1
    """Calls that were made for it, failed ones included."""
    error: str | None = None
    """Why there is no text, after all attempts."""
    raw: str | None = None
    """What came over the wire, credentials hidden; None for local writers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSequence:
    """One sequence to learn from."""

    token_ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]
    """True on the tokens that the loss counts; never on the first, which nothing predicts."""
    advantages: tuple[float, ...]
    rollout_logprobs: tuple[float, ...] | None
    """Nats, 0 where loss_mask is False; None where nothing was sampled (critique data)."""
    group: int = -1
    """Equal for completions of one prompt in one update; below 0: of no group."""

    def __post_init__(self) -> None:
        lengths = {len(self.token_ids), len(self.loss_mask), len(self.advantages)}
        if self.rollout_logprobs is not None:
            lengths.add(len(self.rollout_logprobs))
        if len(lengths) != 1 or not self.token_ids:
            raise ValueError(f"per-token fields of a sequence differ in length: {sorted(lengths)}")
        if self.loss_mask[0]:
            raise ValueError("the first token of a sequence has no prediction, so no loss")

    @property
    def num_loss_tokens(self) -> int:
        """Tokens of this sequence that the loss counts."""
        return sum(self.loss_mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainBatch:
    """What one optimizer update learns from."""

    sequences: tuple[TrainSequence, ...]
    num_loss_tokens: int
    """The loss's denominator: over all micro-batches and ranks, and over the tokens of groups
    that were left out of ``sequences`` because their gradient is zero."""
    num_left_out: int = 0
    """Sequences that count in means over sequences but are not in ``sequences``, for the same
    reason or because another rank holds them."""

    @property
    def num_sequences(self) -> int:
        """What a mean over the sequences of the update divides by."""
        return len(self.sequences) + self.num_left_out

    def __post_init__(self) -> None:
        held = sum(sequence.num_loss_tokens for sequence in self.sequences)
        if not 0 < held <= self.num_loss_tokens:
            raise ValueError(
                f"num_loss_tokens = {self.num_loss_tokens}, but the sequences hold {held}"
            )


class Coefficients(NamedTuple):
    """Weights of the loss terms that a controller may move from step to step."""

    kl: float
    """Of KL(policy, reference) in the loss."""
    entropy: float
    """Of the mean token entropy, subtracted from the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateStats:
    """What the learner measured during one step's update. Means are over loss tokens."""

    loss: float
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    entropy: float
    """Nats per token."""
    clip_frac: float
    """Share of tokens whose gradient the clip removed or, in cispo, whose weight it changed."""
    mismatch_kl: float
    """k3 estimate of KL(rollout policy, learner policy), nats per token."""
    mismatch_abs: float
    """Mean absolute gap between rollout and learner logprobs, nats."""
    kl: float
    """To the reference, nats per token; 0 when no KL term is asked for."""
    num_tokens: int
    """Tokens that went through forward and backward, prompt included, padding excluded."""
    padding_frac: float
    """Share of computed positions that were padding."""
    skipped: bool
    """True when a non-finite loss or gradient left parameters and optimizer unchanged."""
    bounded_frac: float = 0.0
    """Share of tokens whose importance weight the cap truncated or masked."""
