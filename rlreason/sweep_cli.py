"""``rlreason sweep``: many runs from one file, compared with statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rlreason.sweep.folder import SweepFolder
    from rlreason.sweep.status import TrialState


def sweep(
    file: Annotated[str, typer.Argument(help="A file here, or the name of a shipped sweep.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Fields to change.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every trial, print the plan, start nothing.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try trials that are marked as failed again.")
    ] = False,
) -> None:
    """Train every combination of values and seeds, and compare them.

    \b
    Examples:
      rlreason sweep curriculum_ablation.yaml --dry-run
      rlreason sweep curriculum_ablation.yaml
      rlreason sweep mine.yaml seeds=[0,1,2] overrides.run.steps=50 slots=4
      rlreason report curriculum_ablation     write its page again

    The same command again continues: finished trials never run again, an unfinished one resumes,
    a failed one is tried twice more. Ctrl-C lets the running trials save and leaves.
    """
    from rlreason.build_sweep import plan_sweep, run_planned
    from rlreason.sweep.folder import SweepFolder

    plan = plan_sweep(file, overrides or [])
    if dry_run:
        folder = SweepFolder(plan)
        folder.check()
        _show_plan(folder)
        return
    states = run_planned(plan, retry_failed=retry_failed)
    show_sweep(plan.folder)
    if any(state.phase == "failed" for state in states):
        raise typer.Exit(1)


def show_sweep(path: Path) -> None:
    """Print a sweep's table, write it and the page."""
    from rlreason.report.sweep_page import sweep_table, write_sweep_report
    from rlreason.sweep.outcome import open_outcome

    outcome = open_outcome(path)
    page = write_sweep_report(outcome)
    print(sweep_table(outcome))
    print(f"report: {page}")


def _show_plan(folder: SweepFolder) -> None:
    from rich.console import Console

    from rlreason.build_sweep import planned_slots
    from rlreason.sweep.display import summary_line
    from rlreason.sweep.status import eta_s, read_states

    states = read_states(folder)
    console = Console()
    console.print(_trial_table(states))
    console.print(_difference_table(folder))
    line = summary_line(states, eta_s(states, {}, planned_slots(folder.plan.config)))
    console.print(line, highlight=False)
    if not any(state.phase == "finished" for state in states):
        console.print("the time left is estimated once a trial has finished", highlight=False)


def _trial_table(states: Sequence[TrialState]) -> Any:
    from rich.table import Table

    table = Table(title=f"{len(states)} trials", title_justify="left")
    for column in ("trial", "seed", "steps", "state"):
        table.add_column(column)
    for state in states:
        total = state.trial.config.run.steps
        steps = f"{state.steps}/{total}" if state.steps else str(total)
        table.add_row(state.trial.name, str(state.trial.seed), steps, state.phase)
    return table


def _difference_table(folder: SweepFolder) -> Any:
    from rich.table import Table

    plan = folder.plan
    table = Table(title=f"what differs (baseline: {plan.baseline})", title_justify="left")
    for column in ("field", *plan.arms):
        table.add_column(column)
    for field, values in plan.differences().items():
        table.add_row(field, *(values[arm] for arm in plan.arms))
    return table
