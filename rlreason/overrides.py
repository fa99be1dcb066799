"""``key.path=value`` arguments, written into a recipe's data before it is checked.

The value is YAML. List items are named by their ``name``: ``pools.add3.held_out=32``. A plug-in's
short form grows fields as needed: ``curriculum.window=200`` works on ``curriculum: a.b:C``.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from rlreason import strict_yaml
from rlreason.config import PluginConfig
from rlreason.config_mistakes import Location, Mistake, Origin, model_at, nearest, shown

AFTER_ALL_LINES = 1 << 30
"""Order of an override among the mistakes of a file."""


def apply_override(
    override: str, root: type[BaseModel], data: dict[str, Any], origins: dict[Location, Origin]
) -> list[Mistake]:
    """Write one override into ``data`` and ``origins``; return what is wrong with it."""
    origin = Origin(AFTER_ALL_LINES, f"override {override!r}")
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        return [_refused(origin, "not of the form key.path=value, such as run.seed=1")]
    try:
        value = strict_yaml.read(text)
        if value.mistakes:
            return [_refused(origin, reason) for _, reason in value.mistakes]
        where = _assign(root, data, parts, value.data)
    except strict_yaml.StrictYamlError as error:
        return [_refused(origin, f"{error}; quote the value")]
    except LookupError as error:
        return [_refused(origin, error.args[0])]
    for stale in [known for known in origins if known[: len(where)] == where]:
        del origins[stale]
    origins[where] = origin
    return []


def _refused(origin: Origin, reason: str) -> Mistake:
    return Mistake(origin.order, f"{origin.label}: {reason}")


def _assign(root: type[BaseModel], data: Any, parts: list[str], value: Any) -> Location:
    """Put ``value`` where ``parts`` point, making sections on the way.

    Raises:
        LookupError: If there is no such list item, or something on the way has no fields.
    """
    at: Any = data
    where: Location = ()
    while True:
        key: Any
        key, used = _item(at, parts, where) if isinstance(at, list) else (parts[0], 1)
        where, parts = (*where, key), parts[used:]
        if not parts:
            at[key] = value
            return where
        inner = at[key] if isinstance(at, list) else at.get(key)
        at[key] = at = _opened(root, inner, where)


def _item(items: list[Any], parts: list[str], where: Location) -> tuple[Any, int]:
    """Index of the item named by the front of ``parts``, and how many parts its name takes."""
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    for used in range(len(parts), 0, -1):  # a pool's name may hold dots
        name = ".".join(parts[:used])
        if name in names:
            return names.index(name), used
    field, known = ".".join(map(str, where)), [name for name in names if isinstance(name, str)]
    if not known:
        raise LookupError(f"{field} is a list without names; replace it whole: {field}=[...]")
    raise LookupError(f"{field} has no {parts[0]!r}{nearest(parts[0], known)}")


def _opened(root: type[BaseModel], value: Any, where: Location) -> Any:
    """``value`` as something with fields."""
    if model_at(root, where) is PluginConfig:
        value = _default_at(root, where) if value is None else value
        value = {"use": value} if isinstance(value, str) else value
    value = {} if value is None else value
    if not isinstance(value, dict | list):
        raise LookupError(f"{'.'.join(map(str, where))} = {shown(value)} has no fields")
    return value


def _default_at(root: type[BaseModel], where: Location) -> dict[str, Any] | None:
    section = model_at(root, where[:-1])
    default = section.model_fields[str(where[-1])].default if section else None
    return default.model_dump() if isinstance(default, PluginConfig) else None
