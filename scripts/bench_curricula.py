"""Times every shipped curriculum at many pools: weights(), observe() of one step, and its memory.

    .venv/bin/python scripts/bench_curricula.py                # 10,000 pools, 512 groups of 8
    .venv/bin/python scripts/bench_curricula.py --pools 2000 --repeats 30 --json out.json

Every pool has seen 40 groups before the timing starts, so that the shipped windows are full. Times
are medians over the repeats of the calling thread's CPU time: nothing waits here, so on a quiet
core that is the wall time, and on a busy one it is not the neighbours'. Memory is what the
curriculum holds, by tracemalloc, at the number of pools asked for and at a tenth of it: linear
means ten times as much. The exit status is 1 if a median is over 10 ms.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from rlreason.plugins import load_plugin
from rlreason.protocols import Curriculum
from rlreason.types import PoolFacts, Problem, Rollout, RolloutGroup, Score, ScoredGroup

LIMIT_MS = 10.0
WARM_GROUPS = 40

SUBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform": ("curricula.uniform:Uniform", {}),
    "proportional": ("curricula.proportional:Proportional", {}),
    "fixed mixture": ("curricula.fixed_mixture:FixedMixture", {"weights": "each pool"}),
    "dump, paper": ("curricula.dump:Dump", {}),
    "dump, robust": ("curricula.dump:Dump", {"setting": "robust"}),
    "dump, spread of rollouts": ("curricula.dump:Dump", {"statistic": "reward_spread"}),
    "sec": ("curricula.sec:Sec", {}),
    "learnability": ("curricula.learnability:Learnability", {}),
    "thompson": ("curricula.thompson:Thompson", {}),
    "stages": ("curricula.stages:Stages", {"stages": "hundreds"}),
    "ordinal": ("curricula.ordinal:OrdinalSchedule", {}),
    "difficulty": ("curricula.difficulty:Difficulty", {}),
}
"""Name -> plug-in path and options; an option in words is filled in for the pools."""

ROLLOUT = Rollout(
    prompt_ids=(1,),
    completion_ids=(2,),
    completion="x",
    rollout_logprobs=(-0.5,),
    finish_reason="stop",
    policy_version=0,
)


def main() -> int:
    """Measure, print, and say whether every median keeps the limit."""
    arguments = _arguments()
    rows = [
        _measured(name, arguments)
        for name in track(SUBJECTS, "curricula", console=Console(stderr=True))
    ]
    Console().print(_table(rows, arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    slow = [row["name"] for row in rows if max(row["weights_ms"], row["observe_ms"]) > LIMIT_MS]
    if slow:
        print(f"over {LIMIT_MS:.0f} ms: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pools", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=512, help="groups observed at once")
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


def _measured(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    small, _ = _held_mib(name, max(arguments.pools // 10, 1), arguments)
    large, curriculum = _held_mib(name, arguments.pools, arguments)
    chance = random.Random(1)
    names = list(curriculum.weights())

    def step() -> list[ScoredGroup]:
        drawn = chance.choices(names, k=arguments.groups)
        return [_group(pool, arguments.group_size, chance) for pool in drawn]

    observed = [_seconds(curriculum.observe, step()) for _ in range(arguments.repeats)]
    weighed = [_seconds(curriculum.weights) for _ in range(arguments.repeats)]
    return {
        "name": name,
        "weights_ms": 1000 * statistics.median(weighed),
        "observe_ms": 1000 * statistics.median(observed),
        "mib": large,
        "mib_at_a_tenth": small,
    }


def _held_mib(name: str, count: int, arguments: argparse.Namespace) -> tuple[float, Curriculum]:
    """Memory of a curriculum over ``count`` pools with full windows, and the curriculum."""
    path, options = SUBJECTS[name]
    cls = load_plugin(path, where=name)
    names = _names(count)
    pools = {pool: PoolFacts(size=1000, reward_bounds=(0.0, 1.0)) for pool in names}
    config = cls.Config(**_filled(options, names))
    history = _history(count, arguments.group_size)
    gc.collect()
    tracemalloc.start()
    curriculum: Curriculum = cls(pools, config)
    for groups in history:
        curriculum.observe(groups)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    return held, curriculum


@cache
def _history(count: int, group_size: int) -> list[list[ScoredGroup]]:
    """Every pool in each of the first steps."""
    chance = random.Random(0)
    kinds = [_group("?", group_size, chance) for _ in range(64)]
    pools = [Problem(id="1", pool=name, prompt="?") for name in _names(count)]
    return [[_of(problem, chance.choice(kinds)) for problem in pools] for _ in range(WARM_GROUPS)]


def _of(problem: Problem, kind: ScoredGroup) -> ScoredGroup:
    """The same scores for another problem, sharing what is large."""
    return replace(kind, group=replace(kind.group, problem=problem))


def _names(count: int) -> list[str]:
    return [f"pool{number}" for number in range(count)]


def _filled(options: dict[str, Any], names: list[str]) -> dict[str, Any]:
    if options.get("weights") == "each pool":
        return {"weights": dict.fromkeys(names, 1.0)}
    if options.get("stages") == "hundreds":
        return {"stages": [names[start : start + 100] for start in range(0, len(names), 100)]}
    return options


def _group(pool: str, size: int, chance: random.Random) -> ScoredGroup:
    rewards = chance.choices((0.0, 0.5, 1.0), k=size)
    mean = statistics.fmean(rewards)
    problem = Problem(id="1", pool=pool, prompt="?")
    return ScoredGroup(
        group=RolloutGroup(problem=problem, slot=0, rollouts=(ROLLOUT,) * size),
        scores=tuple(Score(value=reward) for reward in rewards),
        advantages=tuple(reward - mean for reward in rewards),
    )


def _seconds(call: Callable[..., object], *arguments: object) -> float:
    start = time.thread_time()
    call(*arguments)
    return time.thread_time() - start


def _table(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> Table:
    table = Table(
        title=f"{arguments.pools} pools, {arguments.groups} groups of {arguments.group_size}; "
        f"medians of {arguments.repeats}",
        title_justify="left",
    )
    table.add_column("curriculum")
    for column in ("weights, ms", "observe, ms", "MiB", "MiB at a tenth"):
        table.add_column(column, justify="right")
    for row in rows:
        keys = ("weights_ms", "observe_ms", "mib", "mib_at_a_tenth")
        table.add_row(row["name"], *(f"{row[key]:.2f}" for key in keys))
    return table


if __name__ == "__main__":
    sys.exit(main())
