"""Recipe file + ``key.path=value`` overrides -> a checked config, or every mistake at once.

    config = load_config("grpo.yaml", ["run.seed=1", "pools.add3.held_out=32"])

Precedence: class default < the file's base < file < overrides. Nothing heavy is imported and
nothing is executed.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rlreason import strict_yaml
from rlreason.config import CftConfig, GrpoConfig, SweepConfig
from rlreason.config_mistakes import (
    Location,
    Mistake,
    Origin,
    describe,
    nearest,
    origin_of,
    shown,
)
from rlreason.errors import ConfigError
from rlreason.overrides import apply_override
from rlreason.recipe_base import Layer, with_bases

RunConfig = GrpoConfig | CftConfig
"""What ``rlreason train`` runs."""

KINDS: dict[str, type[RunConfig] | type[SweepConfig]] = {
    "grpo": GrpoConfig,
    "cft": CftConfig,
    "sweep": SweepConfig,
}
"""What ``kind:`` may say, and the tree that it means."""

RECIPES = Path(__file__).parent / "recipes"
"""Where the shipped recipes lie."""


def load_config(path_or_recipe_name: str, overrides: Sequence[str] = ()) -> GrpoConfig:
    """Read, override and check the recipe of a run of reinforcement learning.

    Raises:
        ConfigError: As ``load_run_config`` does, and for another kind of run.
    """
    config = load_run_config(path_or_recipe_name, overrides)
    if not isinstance(config, GrpoConfig):
        raise ConfigError(
            f"{path_or_recipe_name}: kind = {config.kind}: only a run of kind grpo can be used here"
        )
    return config


def load_run_config(path_or_recipe_name: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read, override and check a recipe of any kind of run.

    Args:
        path_or_recipe_name: A file, or the name of a shipped recipe (with or without ``.yaml``).
        overrides: ``key.path=value``, the value in YAML, later ones winning. A pool is named by
            its name: ``pools.add3.held_out=32``.

    Raises:
        ConfigError: One line per mistake: where, which field, which value, which rule.
    """
    config = _load(path_or_recipe_name, overrides, "grpo")
    if isinstance(config, SweepConfig):
        raise ConfigError(
            f"{path_or_recipe_name}: kind = sweep is many runs; start it with "
            f"`rlreason sweep {path_or_recipe_name}`"
        )
    return config


def load_sweep(path_or_recipe_name: str, overrides: Sequence[str] = ()) -> SweepConfig:
    """Read, override and check the file of a sweep, as ``load_config`` does for a run."""
    config = _load(path_or_recipe_name, overrides, "sweep")
    if not isinstance(config, SweepConfig):
        raise ConfigError(
            f"{path_or_recipe_name}: kind = {config.kind} is one run; start it with "
            f"`rlreason train {path_or_recipe_name}`, or name it as the base of a sweep"
        )
    return config


def _load(name: str, overrides: Sequence[str], default_kind: str) -> RunConfig | SweepConfig:
    path = find_recipe(name)
    data, origins, mistakes = with_bases(path, _layer, find_recipe, default_kind)
    root = _kind_of(data, default_kind)
    for override in overrides:
        mistakes += apply_override(override, root or KINDS[default_kind], data, origins)
    config, rejected = _validate(data, origins, default_kind)
    mistakes += rejected
    if mistakes or config is None:
        # Stable: overrides, which have no line, stay in the order given.
        lines = [text for _, text in sorted(mistakes, key=lambda mistake: mistake.order)]
        count = f"{len(lines)} mistake{'s' * (len(lines) != 1)}"
        raise ConfigError("\n  ".join([f"{path}: {count}", *lines]))
    return config


def whole_recipe(path: Path) -> str:
    """The text of a recipe that stands alone: with what its bases say, if it has any."""
    layer = with_bases(path, _layer, find_recipe, "grpo")
    text = path.read_text(encoding="utf-8-sig")
    return text if _layer(path).data == layer.data else strict_yaml.write(layer.data)


def find_recipe(name: str) -> Path:
    """The file of that path, else the shipped recipe of that name.

    Raises:
        ConfigError: Naming the shipped recipes and the closest of all names.
    """
    if "\0" not in name and Path(name).is_file():
        return Path(name)
    shipped = shipped_recipes()
    for candidate in (name, f"{name}.yaml"):
        if candidate in shipped:
            return shipped[candidate]
    stems = {Path(known).stem: known for known in [*map(str, Path().glob("*.yaml")), *shipped]}
    close = difflib.get_close_matches(Path(name).stem, stems, n=1)
    hint = f"; did you mean {stems[close[0]]!r}?" if close else ""
    raise ConfigError(
        f"recipe {name!r}: no such file, and no shipped recipe of that name{hint} "
        f"(shipped: {', '.join(shipped)})"
    )


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of every recipe in the package."""
    return {path.name: path for path in sorted(RECIPES.glob("*.yaml"))}


def resolved_yaml(config: BaseModel) -> str:
    """Every field with its value, defaults included; reading it gives an equal config."""
    return strict_yaml.write(config.model_dump())


def write_config(config: BaseModel, path: Path) -> None:
    """Write ``resolved_yaml`` to ``path``, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(resolved_yaml(config), encoding="utf-8")
    os.replace(temporary, path)


def _layer(path: Path) -> Layer:
    document = _read(path)
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of sections, not {shown(data)}")
    origins: dict[Location, Origin] = {
        where: Origin(line, f"line {line}") for where, line in document.lines.items() if where
    }
    mistakes = [Mistake(line, f"line {line}: {reason}") for line, reason in document.mistakes]
    return Layer(data, origins, mistakes)


def _read(path: Path) -> strict_yaml.Document:
    try:
        return strict_yaml.read(path.read_text(encoding="utf-8-sig"))
    except strict_yaml.StrictYamlError as error:
        where = f"line {error.line}: " if error.line else ""
        raise ConfigError(f"{path}: 1 mistake\n  {where}{error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: no UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _kind_of(data: dict[str, Any], default: str) -> type[RunConfig] | type[SweepConfig] | None:
    kind = data.get("kind", default)
    return KINDS.get(kind) if isinstance(kind, str) else None


def _validate(
    data: dict[str, Any], origins: dict[Location, Origin], default_kind: str
) -> tuple[RunConfig | SweepConfig | None, list[Mistake]]:
    root = _kind_of(data, default_kind)
    if root is None:
        order, label = origin_of(("kind",), origins)
        kind = data["kind"]
        known = nearest(str(kind), sorted(KINDS))
        return None, [Mistake(order, f"{label}: kind = {shown(kind)}: unknown kind{known}")]
    try:
        return root.model_validate(data), []
    except ValidationError as error:
        return None, describe(error, root, data, origins)
