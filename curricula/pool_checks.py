"""What every curriculum checks of pool names: given, observed and restored ones.

Names are compared exactly and never guessed: a pool that is not in the recipe is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from rlreason.errors import CheckpointError
from rlreason.types import PoolFacts, ScoredGroup


def pool_names(pools: Mapping[str, PoolFacts]) -> tuple[str, ...]:
    """Names in the order of the recipe.

    Raises:
        ValueError: If there is no pool, or a pool without a training problem to draw.
    """
    if not pools:
        raise ValueError("there is no pool; a curriculum needs at least one")
    empty = [name for name, facts in pools.items() if facts.size < 1]
    if empty:
        raise ValueError(f"pools {empty} have no training problem to draw; remove them")
    return tuple(pools)


def require_each(option: str, named: Collection[str], names: Collection[str]) -> None:
    """Refuse an option that does not name every pool of the recipe exactly once.

    Raises:
        ValueError: Naming the pools that are missing, unknown or named twice.
    """
    require_known_names(option, named, names)
    missing = set(names) - set(named)
    twice = {name for name, times in Counter(list(named)).items() if times > 1}
    for words, pools in (("leaves out", missing), ("repeats", twice)):
        if pools:
            raise ValueError(
                f"option {option} {words} {_shortened(pools)}; it names every pool of the recipe "
                "once"
            )


def require_known_names(option: str, named: Collection[str], names: Collection[str]) -> None:
    """Refuse an option that names a pool that the recipe has not.

    Raises:
        ValueError: Naming the unknown pools and those that there are.
    """
    unknown = set(named) - set(names)
    if unknown:
        raise ValueError(
            f"option {option} names {_shortened(unknown)}, but the pools of the recipe are "
            f"{_shortened(names)}"
        )


def require_known(groups: Sequence[ScoredGroup], names: Collection[str]) -> None:
    """Raise before anything is taken in, so that a refused step leaves a curriculum as it was.

    Raises:
        KeyError: Naming the first problem whose pool is not one of ``names``.
    """
    for group in groups:
        if group.problem.pool not in names:
            raise KeyError(
                f"problem {group.problem.key}: its pool is not in the curriculum, which knows "
                f"{_shortened(names)}"
            )


def require_same(saved: Iterable[str], names: Iterable[str]) -> None:
    """Refuse a saved state of other pools: weights over changed pools would compare nothing.

    Raises:
        CheckpointError: Naming the pools that the recipe added and those that it removed.
    """
    before, now = set(saved), set(names)
    if before == now:
        return
    added, removed = sorted(now - before), sorted(before - now)
    changes = [
        f"{word} {_shortened(pools)}"
        for word, pools in (("added", added), ("removed", removed))
        if pools
    ]
    raise CheckpointError(
        f"curriculum: the pools of the recipe are not those of the saved state: "
        f"{' and '.join(changes)}; restore them in the recipe, set run.on_pool_change = adapt, or "
        "start anew with --fresh"
    )


def _shortened(names: Collection[str], limit: int = 20) -> str:
    """At most ``limit`` names: a recipe may have thousands of pools."""
    shown = [repr(name) for name in sorted(names)[:limit]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
