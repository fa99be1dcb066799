"""From the ``source`` of a pool in the recipe to the object that reads its rows.

Nothing is registered: a source is one of four forms, or the path of a plug-in class with a
``read`` method (``protocols.ProblemSource``).
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlreason.config import PoolSection
from rlreason.data.rows import ColumnOptions, closest, parse_options
from rlreason.errors import ConfigError, PluginError
from rlreason.plugins import build_plugin, load_plugin
from rlreason.protocols import ProblemSource

FORMS = (
    "arithmetic:TASK, reasoning_gym:TASK, datasets:NAME_OR_FOLDER, FILE.jsonl, FILE.parquet "
    "or a plug-in package.module:Class"
)
SCHEMES = ("arithmetic", "reasoning_gym", "datasets")


def open_source(pool: PoolSection, *, where: str) -> ProblemSource:
    """Make the source of ``pool``; its name, options and columns are checked, no row is read.

    Args:
        pool: The pool's section of the recipe.
        where: Its dotted path, for messages ("pools.add3").

    Raises:
        ConfigError: For an unknown form, a missing file, or options that do not fit.
        PluginError: If the source is a plug-in that does not load.
        DataError: If a file is not what its name says.
    """
    scheme, colon, name = pool.source.partition(":")
    if colon and scheme in SCHEMES:
        if not name:
            raise ConfigError(f"{where}.source = {pool.source!r}: name what to take; {FORMS}")
        return _open_scheme(scheme, name, pool.options, where)
    if pool.source.endswith((".jsonl", ".parquet")):
        return _open_file(pool.source, pool.options, where)
    if colon:
        return _open_plugin(pool.source, scheme, pool.options, where)
    raise ConfigError(
        f"{where}.source = {pool.source!r}: not a source{_closest_scheme(scheme)}; "
        f"a source is {FORMS}"
    )


def _open_scheme(scheme: str, name: str, options: Mapping[str, Any], where: str) -> ProblemSource:
    if scheme == "datasets":
        from rlreason.data.tables import DatasetsOptions, DatasetsSource

        checked = parse_options(DatasetsOptions, options, where=where)
        return DatasetsSource(name, checked, where=where)
    if scheme == "reasoning_gym":
        from rlreason.data.procedural import ReasoningGymSource

        return ReasoningGymSource(name, options, where=where)
    from rlreason.data.arithmetic import ArithmeticSource

    return _build(ArithmeticSource, name, options, where)


def _build(cls: type[Any], name: str, options: Mapping[str, Any], where: str) -> ProblemSource:
    """``cls(name, **options)``, with options checked against its signature."""
    _, *parameters = inspect.signature(cls).parameters.values()
    known = [parameter.name for parameter in parameters]
    for option in options:
        if option not in known:
            raise ConfigError(f"{where}.options.{option}: unknown option{closest(option, known)}")
    for parameter in parameters:
        if parameter.default is parameter.empty and parameter.name not in options:
            raise ConfigError(f"{where}.options.{parameter.name}: required, and missing")
    try:
        source: ProblemSource = cls(name, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {name} with {dict(options)!r}: {error}") from error
    return source


def _open_file(source: str, options: Mapping[str, Any], where: str) -> ProblemSource:
    path = Path(source)
    if not path.is_file():
        beside = [file.name for file in path.parent.glob(f"*{path.suffix}")]
        raise ConfigError(
            f"{where}.source = {source!r}: no file {path.resolve()}{closest(path.name, beside)}"
        )
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{where}.source = {source!r}: {path.resolve()} may not be read")
    checked = parse_options(ColumnOptions, options, where=where)
    if path.suffix == ".jsonl":
        from rlreason.data.jsonl import JsonlSource

        return JsonlSource(path, checked)
    from rlreason.data.tables import ParquetSource

    return ParquetSource(path, checked, where=where)


def _open_plugin(path: str, scheme: str, options: dict[str, Any], where: str) -> ProblemSource:
    field = f"{where}.source"
    try:
        load_plugin(path, where=field)
    except PluginError as error:
        if "." in scheme or "/" in scheme:
            raise
        # A bare word in front of the colon is likelier a misspelt scheme than a module.
        hint = _closest_scheme(scheme)
        raise ConfigError(f"{field} = {path!r}: not a source{hint}; a source is {FORMS}") from error
    source: ProblemSource = build_plugin(path, options, where=field)
    if not callable(getattr(source, "read", None)):
        raise PluginError(f"{field} = {path!r}: it has no read method, which a source needs")
    return source


def _closest_scheme(name: str) -> str:
    close = difflib.get_close_matches(name, SCHEMES, n=1)
    return f"; did you mean '{close[0]}:...'?" if close else ""
