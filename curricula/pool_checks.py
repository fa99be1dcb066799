"""What every curriculum checks of pool names: given, observed and restored ones.

Names are compared exactly and never guessed: a pool that is not in the recipe is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from rlreason.errors import CheckpointError
from rlreason.types import ScoredGroup


def pool_names(pool_sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Names in the order of the recipe.

    Raises:
        ValueError: If there is no pool, or a pool without a training problem to draw.
    """
    if not pool_sizes:
        raise ValueError("pool_sizes is empty; a curriculum needs at least one pool")
    empty = [name for name, size in pool_sizes.items() if size < 1]
    if empty:
        raise ValueError(f"pools {empty} have no training problem to draw; remove them")
    return tuple(pool_sizes)


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
        f"{' and '.join(changes)}; restore them in the recipe, or start anew with --fresh"
    )


def _shortened(names: Collection[str], limit: int = 20) -> str:
    """At most ``limit`` names: a recipe may have thousands of pools."""
    shown = [repr(name) for name in sorted(names)[:limit]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
