"""Reads what a run folder holds. Whatever a young run does not have yet is empty, not an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rlreason import jsonl
from rlreason.alarms import Alarm, AlarmLimits, Alarms
from rlreason.config import GrpoConfig
from rlreason.errors import DataError
from rlreason.metrics import StepMetrics, from_json
from rlreason.recorder import EVALUATIONS_FILE, MACHINE_FILE, METRICS_FILE
from rlreason.redact import redact

CONFIG_FILE = "config.yaml"
_BARE_RECIPE = {"model": {"path": "x"}, "pools": [{"name": "x", "source": "x", "reward": "x"}]}
"""The least that a recipe must state; everything else in it is a class default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One configured value that differs from the class default."""

    path: str
    value: str
    default: str
    """Empty where there is no default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """A run folder's content."""

    name: str
    config: Mapping[str, Any]
    """As resolved, secrets hidden."""
    settings: tuple[Setting, ...]
    """Where ``config`` differs from the defaults; pools apart."""
    machine: Mapping[str, str]
    rows: tuple[StepMetrics, ...]
    evaluations: tuple[Mapping[str, Any], ...]
    """Sorted by version."""
    alarms: tuple[Alarm, ...]


def read_run(folder: Path) -> RunData:
    """Everything that the report tells of a run, except completions.

    Raises:
        DataError: If ``folder`` is not a run folder.
    """
    config_path = folder / CONFIG_FILE
    if not config_path.is_file():
        raise DataError(f"{folder}: not a run folder, it has no {CONFIG_FILE}")
    config = redact(YAML(typ="safe", pure=True).load(config_path.read_text(encoding="utf-8")))
    rows = tuple(from_json(line) for line in jsonl.read_lines(folder / METRICS_FILE))
    evaluations = [json.loads(line) for line in jsonl.read_lines(folder / EVALUATIONS_FILE)]
    machine_path = folder / MACHINE_FILE
    machine = json.loads(machine_path.read_text()) if machine_path.is_file() else {}
    return RunData(
        name=folder.resolve().name,
        config=config,
        settings=tuple(_settings(config)),
        machine=machine,
        rows=rows,
        evaluations=tuple(sorted(evaluations, key=lambda row: row["version"])),
        alarms=_alarms(rows, config),
    )


def _alarms(rows: tuple[StepMetrics, ...], config: Mapping[str, Any]) -> tuple[Alarm, ...]:
    """What the run's alarms said, found again: they depend on the rows alone."""
    limit = config.get("learner", {}).get("mismatch_limit")
    alarms = Alarms(AlarmLimits(mismatch_limit=limit))
    return tuple(alarm for row in rows for alarm in alarms.check(row))


def _settings(config: Mapping[str, Any]) -> Iterator[Setting]:
    defaults: dict[str, Any] = {}
    if config.get("kind", "grpo") == "grpo":
        defaults = dict(_leaves(GrpoConfig.model_validate(_BARE_RECIPE).model_dump(mode="json")))
    for path, value in _leaves(config):
        required = path == "model.path"
        if path != "pools" and (required or value != defaults.get(path)):
            default = "" if required or path not in defaults else _text(defaults[path])
            yield Setting(path=path, value=_text(value), default=default)


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
