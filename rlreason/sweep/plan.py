"""What a sweep will run: every combination of the axes with every seed, each a checked run config.

Nothing starts before every trial's config is read and checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlreason.config import GrpoConfig, SweepConfig
from rlreason.config.sweep import flat_fields, path_part
from rlreason.config_file import find_recipe, load_config
from rlreason.errors import ConfigError

TRIALS = "trials"
"""Folder of the trials' run folders inside the sweep folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of a sweep."""

    name: str
    """Name of its run folder."""
    arm: str
    """What is compared: the trial's axis values in words, without the seed."""
    values: Mapping[str, str]
    """Axis -> label."""
    seed: int
    config: GrpoConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """A sweep whose every trial has been checked."""

    config: SweepConfig
    folder: Path
    base: Path
    """The recipe that trials start from."""
    trials: tuple[Trial, ...]
    """Seed by seed, so that a sweep stopped early has pairs to compare."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Each arm once, in the order of the file."""
        return tuple(dict.fromkeys(trial.arm for trial in self.trials))

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return arm_name(self.config.baseline_labels())

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools whose mean accuracy is compared."""
        held = [pool.name for pool in self.trials[0].config.pools if pool.held_out]
        return self.config.metrics.pools or tuple(held)

    def run_folder(self, trial: Trial) -> Path:
        """Where the trial's run lives."""
        return self.folder / TRIALS / trial.name

    def differences(self) -> dict[str, dict[str, str]]:
        """Dotted field -> arm -> value, for every field that is not the same in all arms."""
        by_arm = {trial.arm: _leaves(trial.config) for trial in self.trials}
        names = dict.fromkeys(name for leaves in by_arm.values() for name in leaves)
        table = {
            name: {arm: leaves.get(name, "") for arm, leaves in by_arm.items()} for name in names
        }
        return {
            name: values
            for name, values in table.items()
            if len(set(values.values())) > 1 and name not in ("run.name", "run.seed")
        }


def make_plan(config: SweepConfig, source: Path) -> SweepPlan:
    """Every trial of ``config``, checked.

    Args:
        config: The sweep.
        source: The file that it was read from; its base recipe may lie beside it.

    Raises:
        ConfigError: Naming the trial and what is wrong with its config, or with the sweep's rules.
    """
    folder = Path(config.folder) / config.name
    base = _base(config.base, source)
    trials = tuple(
        _trial(config, folder, base, labels, seed)
        for seed in config.seeds
        for labels in config.combinations()
    )
    names = [trial.name for trial in trials]
    if len(set(names)) < len(names):
        raise ConfigError(f"sweep {config.name!r}: two trials have one name; rename some labels")
    plan = SweepPlan(config=config, folder=folder, base=base, trials=trials)
    _check_measured(plan)
    return plan


def arm_name(labels: Mapping[str, str]) -> str:
    """``dump`` for one axis, ``curriculum=dump, algorithm.kl=0.1`` for several."""
    if len(labels) == 1:
        return next(iter(labels.values()))
    return ", ".join(f"{axis}={label}" for axis, label in labels.items())


def _base(name: str, source: Path) -> Path:
    beside = source.parent / name
    return beside if beside.is_file() else find_recipe(name)


def _trial(
    config: SweepConfig, folder: Path, base: Path, labels: Mapping[str, str], seed: int
) -> Trial:
    name = "-".join([*(path_part(label) for label in labels.values()), f"s{seed}"])
    fields = dict(flat_fields(config.overrides))
    for axis, label in labels.items():
        fields |= flat_fields(config.axes[axis].fields(axis, label))
    fields |= {"run.name": name, "run.seed": seed, "run.folder": str(folder / TRIALS)}
    try:
        checked = load_config(str(base), _as_overrides(fields))
        extra = _derived(checked, config)
        trial_config = load_config(str(base), _as_overrides(fields | extra)) if extra else checked
    except ConfigError as error:
        raise ConfigError(f"sweep {config.name!r}, trial {name}: {error}") from None
    return Trial(
        name=name, arm=arm_name(labels), values=dict(labels), seed=seed, config=trial_config
    )


def _as_overrides(fields: Mapping[str, Any]) -> list[str]:
    return [f"{path}={json.dumps(value)}" for path, value in fields.items()]


def _derived(config: GrpoConfig, sweep: SweepConfig) -> dict[str, Any]:
    """What the sweep sets for its trials where the recipe leaves it open."""
    extra: dict[str, Any] = {}
    if config.cluster.threads == 0 and sweep.resources.gpus == 0:
        # Trials share the cores. A fixed number, so that results do not depend on the slots.
        extra["cluster.threads"] = sweep.resources.cpus
    if config.log.wandb is not None and "group" not in config.log.wandb:
        extra["log.wandb.group"] = sweep.name
    return extra


def _check_measured(plan: SweepPlan) -> None:
    """Refuse a sweep that could run, but whose trials could not be compared."""
    metrics = plan.config.metrics
    for trial in plan.trials[: len(plan.arms)]:  # seeds change nothing of this
        run, evaluation = trial.config.run, trial.config.evaluation
        held = [pool.name for pool in trial.config.pools if pool.held_out]
        where = f"sweep {plan.config.name!r}, trial {trial.name}"
        if evaluation.every == 0 or not held:
            raise ConfigError(f"{where}: evaluates nothing; set evaluation.every and held_out")
        count = len({0, run.steps, *range(0, run.steps, evaluation.every)})
        if count - 1 < metrics.last:
            raise ConfigError(
                f"{where}: metrics.last = {metrics.last}, but it is evaluated only {count - 1} "
                "times after the start; lower metrics.last or evaluation.every"
            )
        if metrics.measure == "sampled" and evaluation.samples == 0:
            raise ConfigError(f"{where}: metrics.measure = sampled needs evaluation.samples > 0")
        missing = [name for name in metrics.pools if name not in held]
        if missing:
            raise ConfigError(
                f"{where}: metrics.pools names {missing}, which it does not hold problems out of "
                f"(it does of {held})"
            )


def _leaves(config: GrpoConfig) -> dict[str, str]:
    dumped = config.model_dump(mode="json")
    pools = {pool.pop("name"): pool for pool in dumped.pop("pools")}
    flat = flat_fields({**dumped, "pools": pools})
    leaves: dict[str, str] = {}
    for path, value in flat:
        if isinstance(value, dict):  # a plug-in: its parts, so that one changed option is seen
            leaves |= {f"{path}.{key}": _text(part) for key, part in value.items()}
        else:
            leaves[path] = _text(value)
    return leaves


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
