"""Chooses the seed problems: the one problem, or the few, that all critiques are about.

    given          those named
    one_per_pool   one of each pool
    by_pass_rate   those that the policy solves about as often as wished
    by_variance    those whose pass rate varied most during an earlier run of reinforcement learning

Every choice is a pure function of its arguments: ties go to the lower hash of the problem's key.
"""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Iterable, Mapping, Sequence

from rlreason.critique.records import stable_hash
from rlreason.errors import ConfigError
from rlreason.evaluate import right_from
from rlreason.journal import JournalEntry
from rlreason.types import Problem, RolloutGroup, Score

Pools = Mapping[str, Sequence[Problem]]
"""Pool -> its training problems."""


def given(pools: Pools, names: Sequence[str], *, where: str) -> list[Problem]:
    """The problems called ``names``: ``pool/id``, or the id alone where only one pool has it.

    Raises:
        ConfigError: Naming the id that no pool or that several pools hold, or that is named twice.
    """
    everything = _everything(pools)
    by_name: dict[str, list[Problem]] = {}
    for problem in everything:
        by_name.setdefault(problem.key, []).append(problem)
        by_name.setdefault(problem.id, []).append(problem)
    chosen: list[Problem] = []
    for name in names:
        found = by_name.get(name, [])
        if len(found) != 1:
            raise ConfigError(f"{where} = {name!r:.80}: {_not_one(name, found, list(by_name))}")
        if found[0] in chosen:
            raise ConfigError(f"{where} = {name!r:.80}: the problem is named twice")
        chosen.append(found[0])
    return chosen


def one_per_pool(pools: Pools, *, seed: int) -> list[Problem]:
    """One problem of each pool, in the order of the pools; another ``seed`` gives others."""
    return [
        min(problems, key=lambda problem: stable_hash(seed, problem.key))
        for problems in pools.values()
        if problems
    ]


def by_pass_rate(
    pools: Pools, rates: Mapping[str, float], *, target: float, count: int, per_pool: bool
) -> list[Problem]:
    """The ``count`` problems whose pass rate is nearest to ``target``.

    Args:
        pools: What to choose from.
        rates: Problem key -> share of the policy's answers that were right (``pass_rates``);
            problems without a rate are not chosen.
        target: .5 gives as many right as wrong candidates, 0 the hardest problems.
        count: How many; with ``per_pool``, of each pool.
        per_pool: Choose in each pool by itself.

    Raises:
        ConfigError: If there are fewer problems with a rate.
    """
    distance = {key: abs(rate - target) for key, rate in rates.items()}
    return _lowest(pools, distance, count=count, per_pool=per_pool, what="a pass rate")


def by_variance(
    pools: Pools, histories: Mapping[str, Sequence[float]], *, count: int, per_pool: bool
) -> list[Problem]:
    """The ``count`` problems whose pass rate varied most over an earlier run (1-shot RLVR's score).

    Args:
        pools: What to choose from.
        histories: Problem key -> its pass rate each time that it was drawn (``histories``). One
            that was drawn once has no variance and is not chosen.
        count: How many; with ``per_pool``, of each pool.
        per_pool: Choose in each pool by itself.

    Raises:
        ConfigError: If there are fewer problems with a history.
    """
    cost = {key: -statistics.pvariance(rates) for key, rates in histories.items() if len(rates) > 1}
    return _lowest(pools, cost, count=count, per_pool=per_pool, what="a history of two draws")


def pass_rates(
    scored: Iterable[tuple[RolloutGroup, tuple[Score, ...]]],
    bounds: Mapping[str, tuple[float, float]],
) -> dict[str, float]:
    """Problem key -> share of its completions that are right; faults of the scorer do not count."""
    rates: dict[str, float] = {}
    for group, scores in scored:
        right = [is_right(score, bounds[group.problem.pool]) for score in scores if _counts(score)]
        if right:
            rates[group.problem.key] = sum(right) / len(right)
    return rates


def histories(
    entries: Iterable[JournalEntry], bounds: Mapping[str, tuple[float, float]]
) -> dict[str, list[float]]:
    """Problem key -> its pass rate each time that an earlier run drew it, in the order of steps."""
    found: dict[str, list[float]] = {}
    for entry in entries:
        for group in entry.scored:
            for key, rate in pass_rates([(group.group, group.scores)], bounds).items():
                found.setdefault(key, []).append(rate)
    return found


def is_right(score: Score, bounds: tuple[float, float]) -> bool:
    """Whether ``score`` is the highest of its reward; where bounds are equal nothing is right."""
    low, high = bounds
    return low < high and score.value >= right_from(low, high)


def _counts(score: Score) -> bool:
    return score.outcome != "infra"


def _everything(pools: Pools) -> list[Problem]:
    return [problem for problems in pools.values() for problem in problems]


def _lowest(
    pools: Pools, cost: Mapping[str, float], *, count: int, per_pool: bool, what: str
) -> list[Problem]:
    groups = pools if per_pool else {"all pools": _everything(pools)}
    chosen: list[Problem] = []
    for name, problems in groups.items():
        usable = [problem for problem in problems if problem.key in cost]
        if len(usable) < count:
            raise ConfigError(
                f"seed problems: {count} wanted of {name}, but only {len(usable)} of its "
                f"{len(problems)} problems have {what}"
            )
        usable.sort(key=lambda problem: (cost[problem.key], stable_hash(problem.key)))
        chosen += usable[:count]
    return chosen


def _not_one(name: str, found: Sequence[Problem], known: Sequence[str]) -> str:
    if found:
        keys = ", ".join(problem.key for problem in found[:5])
        return f"several problems are called so; write one of {keys}"
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"no pool holds such a problem{hint}"
