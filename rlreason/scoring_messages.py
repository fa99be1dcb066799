"""What driver, supervisor and workers say to each other while completions are scored.

Downwards travel pickles: the driver made them. Upwards an answer travels as JSON, and only the
driver reads it, so that a reward that goes astray cannot run code outside its worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict

from rlreason.types import Outcome, Problem

READY = b"ready"
"""A worker's first message; anything else says why it cannot start."""
KEEP, REPLACE = b"+", b"-"
"""First byte of a worker's answer: whether it is fit for another completion."""

RewardSpec = tuple[str, dict[str, Any], str]
"""Plug-in path, its options, and where the recipe names it."""


class Task(NamedTuple):
    """What a worker is handed at once. Only the worker unpacks it."""

    reward: int
    """Index of the reward."""
    seed: int
    """For ``random``."""
    problem: Problem
    completions: tuple[str, ...]
    """One completion, or all of a group for a reward of groups."""
    completion_ids: tuple[tuple[int, ...], ...] | None
    """Their tokens, for a reward that asks for them."""


class Answer(TypedDict, total=False):
    """What came of one completion."""

    outcome: Outcome
    seconds: float
    value: float
    """Absent where the completion scores the floor."""
    parts: dict[str, float]
    fault: Literal["raised", "data", "contract"]
    """The reward raised, or our data is wrong, or the reward broke its contract."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The driver's first message."""

    specs: list[RewardSpec]
    workers: int
    time_limit_s: float
    memory_limit_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """One completion, or one group, to score."""

    index: int
    task: bytes
    """A pickled Task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """The driver's request for the answers to tasks 0 to ``count`` - 1, once they are all there."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The reply: for each task the JSON of a list of Answers, or why there will never be any.

    The list has one Answer per completion, or a single one that holds for all of them.
    """

    answers: list[bytes]
    failure: str | None = None
