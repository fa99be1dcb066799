"""Turns ``package.module:Class`` or ``path/to/file.py:Class`` into the object it names.

Used for rewards, curricula and problem sources alike, the shipped ones included: a user's own
plug-in is found the same way. Nothing is registered anywhere; the path is the name.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from rlreason.errors import PluginError

FORMS = '"package.module:Class" or "path/to/file.py:Class"'


def load_plugin(path: str, *, where: str) -> Any:
    """Import what ``path`` names.

    Args:
        path: ``package.module:Class``, or ``file.py:Class`` relative to the current folder.
        where: The config field, for messages ("pools.add3.reward").

    Raises:
        PluginError: Saying what was tried, what is close to it, and what a path looks like.
    """
    module_path, colon, attribute = path.rpartition(":")
    if not colon or not module_path or not attribute:
        raise PluginError(f"{where} = {path!r}: not a plug-in path; it looks like {FORMS}")
    module = (
        _load_file(module_path, path, where)
        if module_path.endswith(".py")
        else (_load_module(module_path, path, where))
    )
    if not hasattr(module, attribute):
        names = [name for name in vars(module) if not name.startswith("_")]
        raise PluginError(
            f"{where} = {path!r}: {module_path} has no {attribute!r}{_closest(attribute, names)}"
        )
    return getattr(module, attribute)


def build_plugin(path: str, options: dict[str, Any], *args: Any, where: str) -> Any:
    """Load a class and make one: ``cls(*args, cls.Config(**options))`` where it has a Config.

    Raises:
        PluginError: If the class does not load or refuses its options.
    """
    cls = load_plugin(path, where=where)
    config_class = getattr(cls, "Config", None)
    try:
        if isinstance(config_class, type) and issubclass(config_class, BaseModel):
            return cls(*args, config_class(**options))
        return cls(*args, **options)
    except ValidationError as error:
        mistakes = "; ".join(_mistake(item, config_class) for item in error.errors())
        raise PluginError(f"{where} ({path}): {mistakes}") from None
    except (TypeError, ValueError) as error:
        raise PluginError(f"{where} ({path}) refused options {options!r}: {error}") from error


def _mistake(item: Any, config_class: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown option {name!r}{_closest(name, list(config_class.model_fields))}"
    return f"option {name} = {item['input']!r}: {item['msg'].removeprefix('Value error, ')}"


def _load_file(file: str, path: str, where: str) -> ModuleType:
    location = Path(file).resolve()
    if not location.is_file():
        raise PluginError(f"{where} = {path!r}: no file {location}")
    # A name of its own per location: two files called mine.py must not shadow each other.
    name = f"rlreason_plugin_{hashlib.sha256(str(location).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, location)
    assert spec is not None, "a .py file always has a spec"
    assert spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look the module up while it loads
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"{where} = {path!r}: {file} fails to import: {error!r}") from error
    return module


def _load_module(name: str, path: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise PluginError(
                f"{where} = {path!r}: {name} needs the package {error.name!r}, not installed here"
            ) from error
        raise PluginError(
            f"{where} = {path!r}: no module {name!r}{_closest(name, _siblings(name))} "
            f"(a plug-in is {FORMS})"
        ) from None
    except Exception as error:
        raise PluginError(f"{where} = {path!r}: {name} fails to import: {error!r}") from error


def _siblings(name: str) -> list[str]:
    parent = name.rpartition(".")[0]
    try:
        package = importlib.import_module(parent) if parent else None
    except ImportError:
        return ["rewards", "curricula"]
    paths = getattr(package, "__path__", None)
    return [f"{parent}.{module.name}" for module in pkgutil.iter_modules(paths)] if paths else []


def _closest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known))}" if known else ""
