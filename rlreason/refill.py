"""Dynamic sampling (DAPO, arXiv:2503.14476): which groups count, and how many more to draw.

A group teaches when its known scores differ. The others are replaced by newly drawn problems,
round by round, until the step has ``problems_per_step`` that teach or the limit is reached. A
round is waited for as a whole and the first groups in the order of the draw are kept, so short
completions have no better chance than long ones.

Pure functions of scores: a replayed step decides as the first time did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from rlreason.config import RolloutSection
from rlreason.errors import DataError
from rlreason.loop_metrics import RefillMetrics
from rlreason.types import Score

_T = TypeVar("_T")

_SHOWN = ("ok", "unparseable")
"""Outcomes with which a reward has looked at the completion and can say every part."""


def teaches(scores: Sequence[Score], part: str | None) -> bool:
    """Whether the known scores differ, in ``part`` or as a whole.

    A score that a limit or a crash ended has no parts: it counts as a value of its own.

    Raises:
        DataError: If the reward does not report ``part``.
    """
    counted = [score for score in scores if score.outcome != "infra"]
    if part is None:
        return len({score.value for score in counted}) > 1
    for score in counted:
        if score.outcome in _SHOWN and part not in score.parts:
            raise DataError(
                f"rollout.refill.part = {part!r}: the reward reports the parts "
                f"{sorted(score.parts)}; name one of them that every reward of the run reports, "
                "or leave it out to compare whole scores"
            )
    return len({score.parts.get(part) for score in counted}) > 1


def next_count(*, kept: int, seen: int, rollout: RolloutSection) -> int:
    """Problems of the next draw, 0 when the step is done.

    The first draw is the step itself. Without ``refill`` it is the only one. A later one asks for
    as many as should bring the groups still missing at the share that taught so far, but at most
    for a whole step, and within the limit.
    """
    wanted = rollout.problems_per_step
    if seen == 0:
        return wanted
    missing, left = wanted - kept, wanted + max_extra(rollout) - seen
    if missing <= 0 or left <= 0:
        return 0
    expected = math.ceil(missing * seen / kept) if kept else wanted
    return min(expected, wanted, left)


def max_extra(rollout: RolloutSection) -> int:
    """Problems that refill may add to a step."""
    if rollout.refill is None:
        return 0
    return math.floor(rollout.refill.max_extra * rollout.problems_per_step)


def keep(groups: Sequence[_T], teaching: Sequence[bool], rollout: RolloutSection) -> list[_T]:
    """The groups to learn from: all without refill, else the first of the step that teach."""
    if rollout.refill is None:
        return list(groups)
    good = [group for group, useful in zip(groups, teaching, strict=True) if useful]
    return good[: rollout.problems_per_step]


def refill_metrics(
    *, rounds: int, seen: int, kept: int, rollout: RolloutSection
) -> RefillMetrics | None:
    """What the step's draws amounted to; None without refill."""
    if rollout.refill is None:
        return None
    return RefillMetrics(
        rounds=rounds,
        extra_rollouts=(seen - rollout.problems_per_step) * rollout.group_size,
        kept_frac=kept / seen,
        missing=rollout.problems_per_step - kept,
    )
