"""From a sweep's file to running trials: joins sweep, preflight and backend, as build does."""

from __future__ import annotations

from rlreason.config import SweepConfig
from rlreason.config_file import find_recipe, load_sweep
from rlreason.errors import RlreasonError
from rlreason.preflight import preflight
from rlreason.protocols import TrialBackend
from rlreason.sweep.display import SweepDisplay
from rlreason.sweep.folder import SweepFolder
from rlreason.sweep.plan import SweepPlan, make_plan
from rlreason.sweep.run import CommandOf, run_sweep, train_command
from rlreason.sweep.status import TrialState


def plan_sweep(path_or_name: str, overrides: list[str]) -> SweepPlan:
    """Read a sweep and check every trial: its config, and for every arm its data and plug-ins.

    Raises:
        RlreasonError: Naming the trial.
    """
    plan = make_plan(load_sweep(path_or_name, overrides), find_recipe(path_or_name))
    for trial in plan.trials[: len(plan.arms)]:  # the first seed's; other seeds read the same
        try:
            preflight(trial.config)
        except RlreasonError as error:
            raise type(error)(f"sweep {plan.config.name!r}, trial {trial.name}: {error}") from error
    return plan


def run_planned(
    plan: SweepPlan, *, retry_failed: bool = False, command: CommandOf = train_command
) -> list[TrialState]:
    """Run what is missing of a sweep.

    Raises:
        RunLockedError: If another process runs it.
        SystemExit: After SIGINT or SIGTERM.
    """
    with SweepFolder(plan).open() as folder:
        if retry_failed:
            folder.forgive_failures()
        return run_sweep(folder, open_backend(plan.config), SweepDisplay(), command)


def open_backend(config: SweepConfig) -> TrialBackend:
    """Where the trials run.

    Raises:
        ConfigError: If the resources are not there.
    """
    if config.backend == "ray":
        from rlreason.cluster.ray_trials import RayTrials

        return RayTrials(config.resources, slots=config.slots, address=config.ray_address)
    from rlreason.cluster.local_trials import LocalTrials

    return LocalTrials(config.resources, config.slots)


def planned_slots(config: SweepConfig) -> int:
    """Trials at once, as far as that can be told without starting a cluster."""
    if config.backend == "ray":
        return config.slots or 1
    from rlreason.cluster.local_trials import LocalTrials

    return LocalTrials(config.resources, config.slots).slots
