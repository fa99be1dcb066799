"""Which checkpoint of a training is its result, and how a method did over its trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from rlreason.errors import DataError

Rule = Literal["last", "best_validation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A checkpoint as far as selection looks at it: test results are not here."""

    update: int
    validation: float | None
    """Greedy accuracy on the validation problems."""


def select(checkpoints: Sequence[Standing], rule: Rule) -> int:
    """The update whose checkpoint is the training's result.

    ``best_validation`` takes the highest accuracy, of equal ones the earliest; ``last`` the last.

    Raises:
        DataError: If the rule looks at what was not measured.
    """
    ordered = sorted(checkpoints, key=lambda standing: standing.update)
    if rule == "last":
        return ordered[-1].update
    scores = [standing.validation for standing in ordered if standing.validation is not None]
    if len(scores) != len(ordered):
        raise DataError("selection.rule = best_validation: a checkpoint was not validated")
    return ordered[scores.index(max(scores))].update


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A number over the trainings of one method."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values)

    @property
    def std(self) -> float | None:
        """Their sample standard deviation; None for one."""
        return stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        spread = "" if self.std is None else f" ± {self.std:.3f}"
        return f"{self.mean:.3f}{spread}"
