"""The command line's ``rlreason reward test | audit``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlreason.config import PluginConfig, ScoringSection
from rlreason.errors import ConfigError
from rlreason.named_runs import find_run
from rlreason.overrides import apply_override

if TYPE_CHECKING:
    from rlreason.types import Problem

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Test a reward with attacks; audit a run's scores with a second reward.

\b
Examples:
  rlreason reward test rewards.math_answer:MathAnswer
  rlreason reward test path/to/mine.py:MyReward --data problems.jsonl
  rlreason reward audit quickstart --reward rewards.math_answer:MathAnswer
""",
)

_STEPS = re.compile(r"([0-9]+)?(-)?([0-9]+)?")
_DEFAULTS = ScoringSection()

Options = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Options of the reward.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(name="test")
def try_reward(
    path: Annotated[str, typer.Argument(help="package.module:Class or path/to/file.py:Class.")],
    options: Options = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Problems to probe it with: a file, or a pool's source."),
    ] = None,
    problems: Annotated[
        int, typer.Option("--problems", min=1, help="Take this many of the data, evenly spread.")
    ] = 12,
    gold: Annotated[
        str | None,
        typer.Option("--gold", help="A right completion, with {answer} where the answer belongs."),
    ] = None,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=0.1, help="Seconds for one completion.")
    ] = _DEFAULTS.time_limit_s,
    memory_limit: Annotated[
        float, typer.Option("--memory-limit", min=0.1, help="GiB of address space of a worker.")
    ] = _DEFAULTS.memory_limit_gib,
    as_json: AsJson = False,
) -> None:
    """Probe the reward PATH in the workers of training; leave with 1 if anything is found.

    Right answers must score high and everything else low: wrong answers, hedges, sprays of boxes,
    orders to the grader, bombs, strange characters, code. Scores must not depend on the order or
    the worker, nor leave the bounds. A reward that declares needs_answer = False is only held to
    the rules for all rewards.

    \b
    Examples:
      rlreason reward test rewards.math_answer:MathAnswer
      rlreason reward test rewards.boxed_exact:BoxedExact strict_format=false
      rlreason reward test mine.py:MyReward --data problems.jsonl --gold 'So it is {answer}'
      rlreason reward test rewards.knights_knaves:KnightsKnaves --data reasoning_gym:knights_knaves
      rlreason reward test mine.py:MyReward --json > found.json
    """
    plugin = _plugin(path, options)
    from rlreason.reward_check.check import check_reward

    report = check_reward(
        plugin.use,
        plugin.options,
        problems=_problems(data, problems) if data is not None else None,
        gold=gold,
        limits=ScoringSection(time_limit_s=time_limit, memory_limit_gib=memory_limit),
    )
    _print(json.dumps(report.to_json(), indent=2) if as_json else report.render())
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def audit(
    run: Annotated[str, typer.Argument(help="A run's name under runs/, or its folder.")],
    options: Options = None,
    reward: Annotated[
        str, typer.Option("--reward", help="The second reward, package.module:Class or a file's.")
    ] = "",
    steps: Annotated[
        str, typer.Option("--steps", help="A-B, A- or -B, ends included; default: all.")
    ] = "-",
    as_json: AsJson = False,
) -> None:
    """Score RUN's journal again with a second reward and show where the two disagree.

    The share of rewarded completions that the second reward refuses, growing with the steps, is
    the mark of a policy that games its reward.

    \b
    Examples:
      rlreason reward audit quickstart --reward rewards.math_answer:MathAnswer
      rlreason reward audit runs/mine --reward judge.py:Strict --steps 100-200 --json
    """
    if not reward:
        raise ConfigError("--reward: name the second reward, package.module:Class or file.py:Class")
    plugin, (first, last), folder = _plugin(reward, options), _step_range(steps), find_run(run)
    from rlreason.config_file import load_config
    from rlreason.reward_check.audit import audit_run
    from rlreason.reward_check.audit_table import render, to_json
    from rlreason.scoring import WorkerScorer

    config = load_config(str(folder / "config.yaml"))
    used = {pool.name: config.reward_of(pool) for pool in config.pools}
    found = audit_run(
        folder,
        plugin,
        bounds=WorkerScorer(used, config.scoring, seed=config.run.seed).bounds,
        limits=config.scoring,
        first=first,
        last=last,
    )
    _print(json.dumps(to_json(found), indent=2) if as_json else render(found))


def _plugin(path: str, options: list[str] | None) -> PluginConfig:
    data: dict[str, Any] = {"use": path}
    for option in options or []:
        mistakes = apply_override(option, PluginConfig, data, {})
        if mistakes:
            raise ConfigError("\n".join(mistake.text for mistake in mistakes))
    return PluginConfig.model_validate(data)


def _problems(source: str, count: int) -> list[Problem]:
    from rlreason.preflight import read_source

    found = read_source(source)
    every = max(1, len(found) // count)
    return found[::every][:count]


def _step_range(text: str) -> tuple[int | None, int | None]:
    found = _STEPS.fullmatch(text)
    if found is None or not text:
        raise ConfigError(f"--steps {text!r}: not a range; write 100-200, 100-, -200 or 7")
    first, dash, last = found.groups()
    if not dash:
        return int(first), int(first)
    return int(first) if first else None, int(last) if last else None


def _print(what: Any) -> None:
    if isinstance(what, str):
        print(what)
        return
    from rich.console import Console

    Console().print(what)
