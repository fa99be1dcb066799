"""A recipe that says only how it differs from another: ``base: grpo.yaml``.

Sections are merged field by field. A plain value, a list, and a plug-in (a section with ``use``)
replace the base's as a whole: options of one plug-in mean nothing to another.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rlreason.config_mistakes import Location, Mistake, Origin, shown
from rlreason.errors import ConfigError

KEY = "base"


class Layer(NamedTuple):
    """What a recipe says, and where it says it."""

    data: dict[str, Any]
    origins: dict[Location, Origin]
    mistakes: list[Mistake]


def with_bases(
    path: Path, read: Callable[[Path], Layer], find: Callable[[str], Path], default_kind: str
) -> Layer:
    """The recipe at ``path`` with whatever it is based on filled in.

    Args:
        path: Its file. A base is looked for beside it first.
        read: Gives what a file says.
        find: Gives the file of a name.
        default_kind: What a recipe without ``kind`` is.

    Raises:
        ConfigError: If a base is not found, of another kind, or based on itself.
    """
    layer, seen = read(path), [path.resolve()]
    kind = layer.data.get("kind", default_kind)
    while kind != "sweep" and KEY in layer.data:
        name = layer.data.pop(KEY)
        if not isinstance(name, str):
            raise ConfigError(f"{path}: base = {shown(name)}: should name a recipe")
        beside = seen[-1].parent / name
        file = (beside if beside.is_file() else find(name)).resolve()
        if file in seen:
            raise ConfigError(f"{path}: base = {name}: this recipe is based on itself")
        base = read(file)
        base_kind = base.data.get("kind", default_kind)
        if base_kind != kind:
            raise ConfigError(
                f"{path}: kind = {shown(kind)}, but base = {name} is of kind {shown(base_kind)}; a "
                "recipe is based on one of its own kind"
            )
        seen.append(file)
        layer = _over(base, layer, name)
    return layer


def _over(base: Layer, own: Layer, name: str) -> Layer:
    """``own`` on top of ``base``, whose lines are then called those of ``name``."""
    origins = {
        where: Origin(origin.order, _labelled(origin.label, name))
        for where, origin in base.origins.items()
    }
    mistakes = [Mistake(mistake.order, f"base {name}: {mistake.text}") for mistake in base.mistakes]
    for replaced in _merge(base.data, own.data, ()):
        for stale in [where for where in origins if where[: len(replaced)] == replaced]:
            del origins[stale]
    return Layer(base.data, origins | own.origins, mistakes + own.mistakes)


def _labelled(label: str, name: str) -> str:
    return label if " of " in label else f"{label} of {name}"


def _merge(base: dict[str, Any], own: dict[str, Any], at: Location) -> list[Location]:
    """Write ``own`` into ``base``; where a value of the base was replaced."""
    replaced = []
    for key, value in own.items():
        before, where = base.get(key), (*at, key)
        both = isinstance(before, dict) and isinstance(value, dict)
        if both and "use" not in value:
            replaced += _merge(base[key], value, where)
        else:
            base[key] = value
            replaced.append(where)
    return replaced
