"""The command line: ``rlreason train | eval | sweep | report | init | doctor | reward``.

Thin: each verb reads its arguments, calls one function and prints. Imports of weight happen inside
the verbs, so that help and configuration mistakes answer at once.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rlreason import __version__
from rlreason.config import GrpoConfig
from rlreason.config_file import find_recipe, load_run_config, resolved_yaml, shipped_recipes
from rlreason.errors import ConfigError, DataError, PluginError, RlreasonError
from rlreason.named_runs import find_run, find_sweep
from rlreason.reward_cli import app as reward_app
from rlreason.sweep_cli import show_sweep, sweep

if TYPE_CHECKING:
    from rlreason.evaluate import Evaluation

USER_MISTAKES = (ConfigError, DataError, PluginError)


class Verbs(TyperGroup):
    """Prints a deliberate error as its message: 2 for what the user can mend, 1 for the rest."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RlreasonError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(2 if isinstance(error, USER_MISTAKES) else 1) from None


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""RL post-training for reasoning: sample, reward, choose what to train on, learn.

\b
A first run, on any machine, in minutes:
  rlreason doctor                       is this machine ready?
  rlreason train grpo.yaml              train a tiny model; the same command resumes
  rlreason report quickstart            write its page again

\b
Then your own:
  rlreason init grpo.yaml mine.yaml     copy a shipped recipe and edit it
  rlreason train mine.yaml --dry-run    check everything, build nothing
  rlreason train mine.yaml run.seed=1   any field can be overridden
  rlreason sweep ablation.yaml          values x seeds, compared with statistics
  rlreason reward test mine.py:Mine     attack your own reward before you train on it
""",
)
app.add_typer(reward_app, name="reward")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"rlreason {__version__}")
        raise typer.Exit


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A file here, or the name of a shipped recipe.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Fields to change.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, build nothing.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew; a run of this name is moved aside.")
    ] = False,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="STAGE", help="Kind cft: stop after this stage."),
    ] = None,
) -> None:
    """Train as RECIPE says. The same command again continues where it stopped.

    \b
    Examples:
      rlreason train grpo.yaml
      rlreason train grpo.yaml run.name=second run.seed=1 learner.learning_rate=2e-4
      rlreason train grpo.yaml pools.add3.held_out=32 curriculum=curricula.uniform:Uniform
      rlreason train grpo.yaml --dry-run
      rlreason train cft.yaml --until critiques

    A recipe of kind cft has the stages seeds, candidates, critiques, filter, train, evaluate and
    report; what did not change since the last time is kept.
    Values are YAML; a pool is named by its name. Ctrl-C finishes the step, saves and leaves.
    """
    config = load_run_config(recipe, overrides or [])
    if not isinstance(config, GrpoConfig):
        from rlreason.cft_cli import train_cft

        train_cft(config, until=until, dry_run=dry_run, fresh=fresh)
        return
    if until is not None:
        raise ConfigError(f"--until {until}: a run of kind {config.kind} has no stages")
    if dry_run:
        _dry_run(config)
        return
    from rlreason.restarting import train_to_the_end

    train_to_the_end(config, fresh=fresh)
    _show_result(Path(config.run.folder) / config.run.name)


@app.command(name="eval")
def evaluate(
    run: Annotated[str, typer.Argument(help="A run's name under runs/, or its folder.")],
    checkpoint: Annotated[
        int | None, typer.Option("--checkpoint", min=0, help="Policy version; default: newest.")
    ] = None,
) -> None:
    """Evaluate a checkpoint on the run's held-out problems.

    \b
    Examples:
      rlreason eval quickstart
      rlreason eval runs/quickstart --checkpoint 20
    """
    folder = find_run(run)
    from rlreason.build import evaluate_checkpoint

    _show_accuracy(folder, evaluate_checkpoint(folder, checkpoint))


app.command()(sweep)


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="A run's or a sweep's name, or its folder.")],
    completions: Annotated[
        int | None,
        typer.Option("--completions", min=0, help="Show this step's best and worst here."),
    ] = None,
) -> None:
    """Write report.html of a run or a sweep, finished or under way; of a sweep the table too.

    \b
    Examples:
      rlreason report quickstart
      rlreason report curriculum_ablation
      rlreason report quickstart --completions 40
    """
    sweep_folder = find_sweep(run)
    if sweep_folder is not None:
        if completions is not None:
            raise ConfigError(f"{run} is a sweep; name one of its trials to see completions")
        show_sweep(sweep_folder)
        return
    folder = find_run(run)
    from rlreason.cft_cli import is_cft, show_result

    if is_cft(folder):
        show_result(folder)
        return
    from rlreason.report import best_and_worst, write_report

    if completions is not None:
        _show(best_and_worst(folder, completions))
    print(f"report: {write_report(folder, completions)}")


@app.command()
def init(
    recipe: Annotated[str | None, typer.Argument(help="A shipped recipe; none: list them.")] = None,
    destination: Annotated[
        Path | None, typer.Argument(metavar="DEST", help="File to write; default: same name here.")
    ] = None,
) -> None:
    """Copy a shipped recipe here, to be edited.

    \b
    Examples:
      rlreason init                         list the shipped recipes
      rlreason init grpo.yaml mine.yaml
    """
    shipped = shipped_recipes()
    if recipe is None:
        for name, path in shipped.items():
            title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
            print(f"{name:<26} {title}")
        return
    name = recipe if recipe in shipped else f"{recipe}.yaml"
    source = shipped[name] if name in shipped else find_recipe(recipe)
    target = destination or Path(source.name)
    target = target / source.name if target.is_dir() else target
    if target.exists():
        raise ConfigError(f"{target}: exists already; name another file, or remove it")
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: no folder {target.parent}; make it first")
    shutil.copyfile(source, target)
    print(f"wrote {target}; check it with: rlreason train {target} --dry-run")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine, with a trial of vLLM and DeepSpeed.

    Looks at versions, cores, memory, disk, GPUs and leftovers of killed builds. What is not fine
    says what to do; the exit code is 1 if something is broken.
    """
    from rlreason.doctor import as_table, examine, to_json

    findings = examine()
    if as_json:
        print(to_json(findings))
    else:
        _show(as_table(findings))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def _dry_run(config: GrpoConfig) -> None:
    """Print the recipe, the pools, and what memory will hold."""
    from rlreason.preflight import preflight
    from rlreason.preflight_memory import memory_plans

    plan = preflight(config)
    print(resolved_yaml(config))
    _show(plan.render(config))
    memory = memory_plans(config, plan.memory_job)
    for table in memory.tables():
        _show(table)
    memory.require_fit()


def _show_result(folder: Path) -> None:
    """Held-out accuracy before and after, and where the page about the run is."""
    from rlreason.report import write_report

    _show_accuracy(folder)
    print(f"report: {write_report(folder)}")


def _show_accuracy(folder: Path, now: Evaluation | None = None) -> None:
    """The run's first evaluation beside ``now``, or beside its last one."""
    from rlreason import jsonl
    from rlreason.evaluate import Evaluation, comparison_table

    lines = jsonl.read_lines(folder / "evaluations.jsonl")
    recorded = [Evaluation.from_json(json.loads(lines[index])) for index in (0, -1) if lines]
    shown = [*recorded, now] if now else recorded
    if shown:
        _show(comparison_table(shown[0], shown[-1]))


def _show(renderable: Any) -> None:
    from rich.console import Console

    Console().print(renderable)


def main() -> None:
    """Entry of the ``rlreason`` command."""
    # Read when torch loads; its C++ warnings (NUMA, missing drivers) help no user of a run.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    app(prog_name="rlreason")
