"""What differs between the configuration that a run was started with and the one it is given now.

Most fields shape what was learned, so a continued run must keep them. Pools are compared by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

Changes = dict[str, tuple[Any, Any]]
"""Dotted field -> (before, now); under ``pools`` the names of the pools, in order."""

MAY_CHANGE = (
    "run.folder",
    "run.steps",
    "run.checkpoint_every",
    "run.keep_checkpoints",
    "run.on_pool_change",
    "cluster.threads",
    "cluster.backend",
    "cluster.learners",
    "cluster.engines",
    "cluster.layout",
    "cluster.address",
    "cluster.weight_sync",
    "cluster.deadlines",
    "cluster.gpu_gib",
    "learner.zero_stage",
)
"""Fields that may differ when a run continues: they touch nothing that was learned so far."""

MAY_CHANGE_SECTIONS = ("evaluation", "log")

_POOLS = "pools"
_ABSENT = "absent"


def config_changes(before: BaseModel, now: BaseModel) -> Changes:
    """Every field whose value differs; of pools that came or went, their names alone."""
    old, new = (config.model_dump(mode="json") for config in (before, now))
    old_pools, new_pools = (_by_name(values.pop(_POOLS, [])) for values in (old, new))
    changes = _differences(old, new)
    if list(old_pools) != list(new_pools):
        changes[_POOLS] = (list(old_pools), list(new_pools))
    for name in old_pools.keys() & new_pools.keys():
        changes |= _differences(old_pools[name], new_pools[name], f"{_POOLS}.{name}")
    return changes


def refused_changes(changes: Changes, now: BaseModel) -> Changes:
    """Those of the changes that a run must not continue with."""
    run = now.model_dump(include={"run"}).get("run", {})
    adapt = _POOLS in changes and run.get("on_pool_change") == "adapt"
    return {
        name: pair
        for name, pair in changes.items()
        if not (_may_change(name) or (adapt and _goes_with_pools(name)))
    }


def in_words(changes: Changes) -> str:
    """One line per field."""
    return "\n".join(f"  {name}: {_pair_in_words(name, pair)}" for name, pair in changes.items())


def _may_change(name: str) -> bool:
    return name in MAY_CHANGE or name.partition(".")[0] in MAY_CHANGE_SECTIONS


def _goes_with_pools(name: str) -> bool:
    """Options of the curriculum may name the pools (a mixture, stages); they change with them."""
    return name == _POOLS or (name.startswith("curriculum.") and name != "curriculum.use")


def _pair_in_words(name: str, pair: tuple[Any, Any]) -> str:
    before, now = pair
    if name != _POOLS:
        return f"{before!r} before, {now!r} now"
    added = [pool for pool in now if pool not in set(before)]
    removed = [pool for pool in before if pool not in set(now)]
    told = [
        f"{word} {pools!r:.500}"
        for word, pools in (("added", added), ("removed", removed))
        if pools
    ]
    return (
        f"{' and '.join(told) or 'in another order'}; a renamed pool counts as both; "
        "run.on_pool_change = adapt continues with the new pools"
    )


def _by_name(pools: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {pool["name"]: pool for pool in pools}


def _differences(old: Any, new: Any, name: str = "") -> Changes:
    before, now = _flatten(old, name), _flatten(new, name)
    names = [*before, *(name for name in now if name not in before)]
    pairs = {name: (before.get(name, _ABSENT), now.get(name, _ABSENT)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _flatten(value: Any, name: str = "") -> dict[str, Any]:
    """Dotted name -> value; lists of sections count by position."""
    if isinstance(value, Mapping) and value:
        parts = {str(key): inner for key, inner in value.items()}
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        parts = {str(position): inner for position, inner in enumerate(value)}
    else:
        return {name: value}
    flat: dict[str, Any] = {}
    for key, inner in parts.items():
        flat |= _flatten(inner, f"{name}.{key}" if name else key)
    return flat
