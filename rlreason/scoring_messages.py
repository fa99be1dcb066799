"""What driver, supervisor and workers say to each other while completions are scored.

Downwards travel pickles: the driver made them. Upwards an answer travels as JSON, and only the
driver reads it, so that a reward that goes astray cannot run code outside its worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from rlreason.types import Outcome, Problem

READY = b"ready"
"""A worker's first message; anything else says why it cannot start."""
KEEP, REPLACE = b"+", b"-"
"""First byte of a worker's answer: whether it is fit for another completion."""

RewardSpec = tuple[str, dict[str, Any], str]
"""Plug-in path, its options, and where the recipe names it."""
Task = tuple[int, int, Problem, str]
"""Index of the reward, seed for ``random``, problem, completion. Only the worker unpacks it."""


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
    """One completion to score."""

    index: int
    task: bytes
    """A pickled Task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """The driver's request for the answers to tasks 0 to ``count`` - 1, once they are all there."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The reply: JSON of each Answer in the order of the tasks, or why there will never be any."""

    answers: list[bytes]
    failure: str | None = None
