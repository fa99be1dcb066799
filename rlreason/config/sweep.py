"""An ablation sweep: ``kind: sweep``, what ``rlreason sweep`` reads.

All that decides what is compared and how it is judged stands in the file before the first trial
starts: the values, the seeds, the baseline, how many evaluations the final accuracy averages, the
threshold and the pools that count.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, RootModel, field_validator, model_validator

from rlreason.config.sections import Section, checked_name

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_OWNED = ("run.seed", "run.name", "run.folder")


def value_label(value: Any) -> str:
    """A listed value as YAML spells it, which is also what ``baseline`` calls it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def path_part(text: str) -> str:
    """``text`` as a part of a folder name."""
    return _UNSAFE.sub("_", re.sub("^-", "minus", text)).strip("_.-") or "none"


def flat_fields(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path -> value, for ``run.steps: 5`` and ``run: {steps: 5}`` alike.

    A mapping with ``use`` is a plug-in and replaces the old one whole; others are merged.
    """
    for key, value in fields.items():
        if isinstance(value, dict) and value and "use" not in value:
            yield from flat_fields(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


class Axis(RootModel[Any]):
    """What one axis goes through.

    A list holds values of the config field that the axis is named after. A mapping holds named
    bundles: label -> the fields that it sets, whole sections included.
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not isinstance(self.root, list | dict) or len(self.root) < 2:
            raise ValueError(
                "an axis is a list of at least two values of the field that it is named after, or "
                "a mapping of at least two labels to the fields that each sets"
            )
        for item in self.root if isinstance(self.root, list) else ():
            if isinstance(item, list | dict):
                raise ValueError(
                    f"the value {str(item)[:60]} needs a label; write the axis as a mapping of "
                    "label: {field: value}"
                )
        for label, fields in self.root.items() if isinstance(self.root, dict) else ():
            checked_name(label)
            if not isinstance(fields, dict) or not fields:
                raise ValueError(f"{label}: should be a mapping of config fields to values")
        labels = [path_part(label) for label in self.labels]
        if len(set(labels)) < len(labels):
            raise ValueError(f"two values have the same label: {', '.join(labels)}")
        return self

    @property
    def labels(self) -> list[str]:
        """What each value is called in tables and folder names."""
        return [value_label(item) for item in self.root]

    def fields(self, name: str, label: str) -> dict[str, Any]:
        """The config fields that the value ``label`` of the axis ``name`` sets."""
        if isinstance(self.root, dict):
            return dict(self.root[label])
        return {name: self.root[self.labels.index(label)]}


class SweepMetricsSection(Section):
    """How trials are judged; fixed before the first one starts."""

    last: int = Field(default=3, ge=1)
    """Final accuracy is the mean over this many last evaluations."""
    pools: tuple[str, ...] = ()
    """Pools whose mean is the accuracy that is compared (the learnable ones); none: all pools."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Accuracy for steps and tokens to threshold."""
    measure: Literal["greedy", "sampled"] = "greedy"
    """Of each held-out problem: is the greedy answer right, or the share of right samples."""


class TrialResourcesSection(Section):
    """What one trial takes."""

    cpus: int = Field(default=1, ge=1)
    """Cores."""
    gpus: int = Field(default=0, ge=0)
    """Whole GPUs; each trial sees its own ones only."""


class SweepConfig(Section):
    """Values x seeds of one base recipe: what ``rlreason sweep`` reads for ``kind: sweep``."""

    kind: Literal["sweep"] = "sweep"
    """The kind of file."""
    name: str
    """Name of the sweep folder."""
    folder: str = "sweeps"
    """Where sweep folders live."""
    base: str
    """The recipe that every trial starts from: a shipped name, or a file (beside this file, or
    where the command is run)."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Fields that differ from ``base`` in every trial."""
    axes: dict[str, Axis] = Field(min_length=1)
    """Axis -> its values; trials are all combinations, with every seed."""
    baseline: dict[str, Any]
    """Axis -> the value that the others are compared with."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """``run.seed`` of the trials; the same for every value, so that trials are paired."""
    metrics: SweepMetricsSection = SweepMetricsSection()
    retries: int = Field(default=2, ge=0, le=2)
    """How often a failed trial is tried again."""
    backend: Literal["local", "ray"] = "local"
    """``local``: processes on this machine; ``ray``: tasks on a Ray cluster whose nodes share this
    folder under the same path."""
    ray_address: str | None = None
    """``host:port`` of a running cluster; null: Ray is started here, on loopback."""
    slots: int = Field(default=0, ge=0)
    """Trials at once; 0: as many as cores or GPUs allow."""
    resources: TrialResourcesSection = TrialResourcesSection()

    _name = field_validator("name")(checked_name)

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        bundles = [
            axis.fields(name, label) for name, axis in self.axes.items() for label in axis.labels
        ]
        set_here = {
            path for fields in (self.overrides, *bundles) for path, _ in flat_fields(fields)
        }
        owned = sorted(set_here.intersection(_OWNED))
        if owned:
            raise ValueError(f"{', '.join(owned)}: set by the sweep itself, from seeds and name")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds = {list(self.seeds)}: each once, and none below 0")
        return self

    @model_validator(mode="after")
    def _check_baseline(self) -> Self:
        if self.baseline.keys() != self.axes.keys():
            raise ValueError(
                f"baseline names the axes {sorted(self.baseline)}, but the axes are "
                f"{sorted(self.axes)}; give one value of each"
            )
        for name, value in self.baseline.items():
            label, labels = value_label(value), self.axes[name].labels
            if label not in labels:
                close = difflib.get_close_matches(label, labels, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(labels)}"
                raise ValueError(f"baseline.{name} = {label!r}: no value of that axis; {hint}")
        return self

    def combinations(self) -> Iterator[dict[str, str]]:
        """Axis -> label of every combination, in the order of the file."""
        names = list(self.axes)
        for labels in itertools.product(*(self.axes[name].labels for name in names)):
            yield dict(zip(names, labels, strict=True))

    def baseline_labels(self) -> dict[str, str]:
        """Axis -> label of the baseline."""
        return {name: value_label(self.baseline[name]) for name in self.axes}
