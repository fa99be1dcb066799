"""How single problems fared over an earlier run, read from its journal, and rankings by it.

1-shot RLVR (arXiv 2504.20571) trains a run on many problems, ranks them by the variance of their
training accuracy over that run, and then trains on the first one alone.
"""

from __future__ import annotations

import logging
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from rlreason.atomic import folder_numbers, numbered_folder, verify_manifest
from rlreason.config import SelectionSection
from rlreason.errors import ConfigError
from rlreason.journal import FILE
from rlreason.types import Problem

Key = tuple[str, str]
"""Pool and id of a problem."""

_COLUMNS = ["pool", "problem_id", "slot", "score", "outcome"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemHistory:
    """What a run scored of one problem."""

    pool: str
    problem_id: str
    accuracies: tuple[float, ...]
    """Mean score of each visit, in order: the accuracy where the reward is 0 or 1."""

    @property
    def mean(self) -> float:
        """Mean accuracy over all visits."""
        return statistics.fmean(self.accuracies)

    @property
    def variance(self) -> float:
        """Variance of the accuracy over the visits, 1-shot RLVR's historical variance score."""
        return statistics.pvariance(self.accuracies)


RANKINGS: Mapping[str, Callable[[ItemHistory], float]] = {
    "historical_variance": lambda item: -item.variance,
    "easiest": lambda item: -item.mean,
    "hardest": lambda item: item.mean,
}
"""Ranking -> what it sorts by, first comes the lowest."""


def read_histories(run: Path) -> dict[Key, ItemHistory]:
    """The histories of all problems that a run drew, by pool and id.

    A visit is a group of completions; scores that an infra fault hides are left out of it.

    Raises:
        ConfigError: If the folder holds no journaled step.
    """
    steps = run / "steps"
    visits: dict[Key, list[float]] = defaultdict(list)
    for number in folder_numbers(steps):
        folder = numbered_folder(steps, number)
        faults = verify_manifest(folder)
        if faults:
            logger.warning("%s is left out of the ranking: %s", folder, "; ".join(faults))
            continue
        for key, accuracy in _visits(folder / FILE):
            visits[key].append(accuracy)
    if not visits:
        raise ConfigError(f"{run}: no scored step in {steps}; name the folder of a run")
    return {
        (pool, name): ItemHistory(pool=pool, problem_id=name, accuracies=tuple(accuracies))
        for (pool, name), accuracies in visits.items()
    }


def rank_items(items: Iterable[ItemHistory], by: str, *, min_visits: int = 2) -> list[ItemHistory]:
    """Items with enough visits, best first by one of ``RANKINGS``; ties in the order of their ids.

    Raises:
        KeyError: If there is no such ranking.
    """
    score = RANKINGS[by]
    ranked = [item for item in items if len(item.accuracies) >= min_visits]
    return sorted(ranked, key=lambda item: (score(item), item.pool, item.problem_id))


def select_problems(
    problems: Sequence[Problem], section: SelectionSection, pool: str
) -> list[Problem]:
    """The problems of ``pool`` that ``section`` keeps, in the order in which they were given.

    Raises:
        ConfigError: If the earlier run knows too few of them.
    """
    histories = read_histories(Path(section.run))
    known = [histories[key] for p in problems if (key := (p.pool, p.id)) in histories]
    ranked = rank_items(known, section.by, min_visits=section.min_visits)
    if len(ranked) < section.keep:
        raise ConfigError(
            f"pools.{pool}.select.keep = {section.keep}: {section.run} drew only {len(ranked)} of "
            f"the {len(problems)} training problems of its pool {pool!r} at least "
            f"{section.min_visits} times; lower keep or min_visits, or name a longer run"
        )
    kept = {item.problem_id for item in ranked[: section.keep]}
    return [problem for problem in problems if problem.id in kept]


def _visits(file: Path) -> list[tuple[Key, float]]:
    """(problem, mean score) of each group of a step."""
    groups: dict[int, tuple[Key, list[float]]] = {}
    for row in pq.read_table(file, columns=_COLUMNS).to_pylist():
        _, scores = groups.setdefault(row["slot"], ((row["pool"], row["problem_id"]), []))
        if row["outcome"] != "infra":
            scores.append(row["score"])
    return [(key, statistics.fmean(scores)) for key, scores in groups.values() if scores]
