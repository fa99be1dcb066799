"""Scores a run's journal again with a second reward: where do the two disagree, and ever more?

A completion counts as rewarded when its score is above the middle of its reward's bounds. What the
run rewarded and the second reward refuses is a false positive of one of them; a share of these that
grows with the steps is a policy that has found out how to please the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlreason.atomic import folder_numbers
from rlreason.config import PluginConfig, ScoringSection
from rlreason.errors import ConfigError
from rlreason.journal import Journal
from rlreason.reward_check.findings import shortened
from rlreason.scoring import WorkerScorer
from rlreason.types import Score, ScoredGroup

_KEPT_EXAMPLES = 3
_UNJUDGED = ("infra", "crash", "timeout")


@dataclass(slots=True, kw_only=True)
class Tally:
    """How often the two rewards agreed."""

    both: int = 0
    only_run: int = 0
    """Rewarded by the run, refused by the second reward."""
    only_second: int = 0
    neither: int = 0
    left_out: int = 0
    """The run left it out (``infra``), or the second reward came to no judgement."""

    @property
    def refused_frac(self) -> float | None:
        """Share of what the run rewarded that the second reward refuses."""
        rewarded = self.both + self.only_run
        return self.only_run / rewarded if rewarded else None

    @property
    def missed_frac(self) -> float | None:
        """Share of what the run refused that the second reward rewards."""
        refused = self.neither + self.only_second
        return self.only_second / refused if refused else None

    def add(self, other: Tally) -> None:
        """Count ``other`` in."""
        for name in ("both", "only_run", "only_second", "neither", "left_out"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def to_json(self) -> dict[str, Any]:
        """Counts and shares; a share of nothing is null."""
        counts = {
            "both": self.both,
            "only_run": self.only_run,
            "only_second": self.only_second,
            "neither": self.neither,
            "left_out": self.left_out,
        }
        return counts | {"refused_frac": self.refused_frac, "missed_frac": self.missed_frac}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A completion on which the two disagree."""

    step: int
    problem: str
    answer: str | None
    completion: str
    """Shortened in its middle."""
    run: float
    second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the second reward says of a run."""

    run: str
    reward: str
    tallies: Mapping[tuple[int, str], Tally]
    """(step, pool) -> agreement."""
    damaged: tuple[int, ...]
    """Steps whose journal entry cannot be read."""
    only_run: tuple[Example, ...] = field(default=())
    only_second: tuple[Example, ...] = field(default=())

    @property
    def steps(self) -> list[int]:
        """The audited steps."""
        return sorted({step for step, _ in self.tallies})

    @property
    def pools(self) -> list[str]:
        """The pools, in the order of their first rollout."""
        return list(dict.fromkeys(pool for _, pool in self.tallies))

    def total(self, steps: Iterable[int], pool: str | None = None) -> Tally:
        """Over ``steps`` and one pool, or all of them."""
        wanted, total = set(steps), Tally()
        for (step, name), tally in self.tallies.items():
            if step in wanted and pool in (None, name):
                total.add(tally)
        return total


def audit_run(
    folder: Path,
    plugin: PluginConfig,
    *,
    bounds: Mapping[str, tuple[float, float]],
    limits: ScoringSection,
    first: int | None = None,
    last: int | None = None,
) -> Audit:
    """Score every journaled completion of steps ``first`` to ``last`` with ``plugin``.

    Args:
        folder: The run's folder.
        plugin: The second reward, for every pool.
        bounds: Pool -> bounds of the reward that the run used.
        limits: Time, memory and workers.
        first: First step; without one, the run's first.
        last: Last step, itself included; without one, the run's last.

    Raises:
        ConfigError: If the journal holds no step in that range.
        DataError: If the second reward cannot score a problem of the run.
    """
    present = folder_numbers(folder / "steps")
    chosen = [s for s in present if (first or 0) <= s and (last is None or s <= last)]
    if not chosen:
        held = f"steps {present[0]} to {present[-1]}" if present else "no step"
        raise ConfigError(f"{folder}: its journal holds {held}, none of those asked for")
    journal, book = Journal(folder / "steps"), _Book(bounds)
    limits = limits.model_copy(update={"max_infra_frac": 1.0})
    with WorkerScorer(dict.fromkeys(bounds, plugin), limits, seed=0) as scorer:
        second_bounds = scorer.bounds
        for step in chosen:
            entry = journal.read(step)
            if entry is None:
                book.damaged.append(step)
                continue
            scored = scorer.score(group.group for group in entry.scored)
            second = {id(group): scores for group, scores in scored}
            for group in entry.scored:
                book.count(step, group, second[id(group.group)], second_bounds)
    return Audit(
        run=str(folder),
        reward=plugin.use,
        tallies=dict(book.tallies),
        damaged=tuple(book.damaged),
        only_run=tuple(book.only_run),
        only_second=tuple(book.only_second),
    )


class _Book:
    """Tallies and examples while they are counted."""

    def __init__(self, bounds: Mapping[str, tuple[float, float]]) -> None:
        self._bounds = bounds
        self.tallies: dict[tuple[int, str], Tally] = defaultdict(Tally)
        self.damaged: list[int] = []
        self.only_run: list[Example] = []
        self.only_second: list[Example] = []

    def count(
        self,
        step: int,
        group: ScoredGroup,
        second: Sequence[Score],
        second_bounds: Mapping[str, tuple[float, float]],
    ) -> None:
        """Compare a group's two lists of scores."""
        pool = group.problem.pool
        tally = self.tallies[step, pool]
        pairs = zip(group.scores, second, strict=True)
        for sample, (old, new) in enumerate(pairs):
            if old.outcome == "infra" or new.outcome in _UNJUDGED:
                tally.left_out += 1
                continue
            agreed = (_rewarded(old, self._bounds[pool]), _rewarded(new, second_bounds[pool]))
            tally.add(_TALLY_OF[agreed]())
            examples = {(True, False): self.only_run, (False, True): self.only_second}.get(agreed)
            if examples is not None and len(examples) < _KEPT_EXAMPLES:
                examples.append(_example(step, group, sample, old, new))


def _rewarded(score: Score, bounds: tuple[float, float]) -> bool:
    return score.value > sum(bounds) / 2


_TALLY_OF = {
    (True, True): lambda: Tally(both=1),
    (True, False): lambda: Tally(only_run=1),
    (False, True): lambda: Tally(only_second=1),
    (False, False): lambda: Tally(neither=1),
}


def _example(step: int, group: ScoredGroup, sample: int, old: Score, new: Score) -> Example:
    return Example(
        step=step,
        problem=group.problem.key,
        answer=group.problem.answer,
        completion=shortened(group.group.rollouts[sample].completion),
        run=old.value,
        second=new.value,
    )
