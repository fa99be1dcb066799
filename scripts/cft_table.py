"""Critique fine-tuning beside its baselines over several seeds, as a Markdown table.

    .venv/bin/python scripts/cft_table.py cft.yaml --seeds 0,1,2 --task add3,add4,add5

A seed is a whole run: its own seed problem, candidates and order of training. It is trained at
every rate of ``--rates``, and the rule that selects is the same for all methods and fixed before
any run: the checkpoint, of all rates and updates, with the highest accuracy on validation problems,
of equal ones the earliest and then the lowest rate. Test problems have no say.

Intervals are those of ``rlreason/sweep/stats.py``: over seeds and held-out problems, paired. What
is finished is kept in ``--folder`` and never run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer

from rlreason.critique.lessons import METHODS
from rlreason.sweep.stats import Scores, paired_difference, paired_effect, verdict

Row = dict[str, Any]
"""A policy: method, update, rate, validation accuracy, and its test answers pool by pool."""

BASELINE = "sft_one"
SETTINGS = ("evaluation.samples=0", "training.checkpoint_every=5")
"""Further than the recipe: selection may stop early, and nothing that the table does not show."""


def main(
    recipe: Annotated[str, typer.Argument(help="A recipe of kind cft.")] = "cft.yaml",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas.")] = "0,1,2",
    rates: Annotated[str, typer.Option(help="Learning rates, with commas.")] = "1e-4,4e-4",
    task: Annotated[str, typer.Option(help="Pools of the seed problem's task.")] = "",
    change: Annotated[list[str], typer.Option("--set", help="key=value, as for train.")] = [],  # noqa: B006
    folder: Annotated[Path, typer.Option(help="Where results and runs go.")] = Path("runs/table"),
) -> None:
    """Run what is missing, then print the table."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    runs = [
        [
            row
            for rate in rates.split(",")
            for row in results(recipe, int(seed), rate, change, folder)
        ]
        for seed in seeds.split(",")
    ]
    print_table(runs, task.split(",") if task else [])


def results(recipe: str, seed: int, rate: str, changes: Sequence[str], folder: Path) -> list[Row]:
    """Every policy of one seed at one rate; trained if that was not done before."""
    kept = folder / f"seed{seed}-{rate}.json"
    if not kept.exists():
        settings = [f"run.seed={seed}", f"training.seeds=[{seed}]", f"run.name=seed{seed}"]
        settings += [f"learner.learning_rate={rate}", f"run.folder={folder}", *SETTINGS, *changes]
        command = [sys.executable, "-m", "rlreason", "train", recipe, *settings]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        rows = read_rows(folder / f"seed{seed}", float(rate))
        kept.write_text(json.dumps(rows), encoding="utf-8")
        print(f"seed {seed}, rate {rate}: {len(rows)} policies", file=sys.stderr, flush=True)
    rows = json.loads(kept.read_text(encoding="utf-8"))
    return list(rows)


def read_rows(run: Path, rate: float) -> list[Row]:
    """What a finished run measured."""
    table = pq.read_table(run / "stages" / "evaluate.parquet").to_pylist()
    names = ("method", "update", "validation", "test", "leak_frac")
    return [
        {name: row[name] for name in names} | {"rate": rate, "pools": answers(run, row["number"])}
        for row in table
    ]


def answers(run: Path, number: int) -> dict[str, list[int]]:
    """Pool -> 1 or 0 for each test problem, in an order that all policies share."""
    table = pq.read_table(run / "evaluations" / f"{number:06d}.parquet").to_pylist()
    found: dict[str, list[int]] = {}
    for row in sorted(table, key=lambda row: (row["pool"], row["problem_id"])):
        found.setdefault(row["pool"], []).append(int(row["greedy_correct"]))
    return found


def selected(rows: Sequence[Row], method: str) -> Row:
    """The result of a method in one seed, by the rule above."""
    mine = [row for row in rows if row["method"] == method]
    return min(mine, key=lambda row: (-row["validation"], row["update"], row["rate"]))


def last(rows: Sequence[Row], method: str) -> Row:
    """The last update, at the rate that was selected."""
    rate = selected(rows, method)["rate"]
    mine = [row for row in rows if row["method"] == method and row["rate"] == rate]
    return max(mine, key=lambda row: int(row["update"]))


def print_table(runs: Sequence[Sequence[Row]], task: Sequence[str]) -> None:
    """One line per method, and what may be said of critiques against one solution."""
    present = {row["method"] for row in runs[0]}
    others = [pool for pool in runs[0][0]["pools"] if pool not in task]
    print("| trained on | accuracy | its task | other tasks | without stopping | less sft_one |"
          " per seed: accuracy at update, rate |")  # fmt: skip
    print("|" + "---|" * 7)
    for method in ("base", *(name for name in METHODS if name in present)):
        best = [selected(rows, method) for rows in runs]
        cells = [
            method,
            interval(scores(best)),
            f"{mean(best, task):.3f}" if task else "",
            f"{mean(best, others):.3f}" if task else "",
            f"{mean([last(rows, method) for rows in runs], []):.3f}" if method != "base" else "",
            "" if method in ("base", BASELINE) else interval(against(runs, method, selected)),
            ", ".join(f"{row['test']:.3f} at {row['update']}, {row['rate']:g}" for row in best)
            if method != "base" else "",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |")
    if BASELINE in present:
        for name, choice in (("selected by validation", selected), ("without stopping", last)):
            effect = paired_effect(against(runs, "cft", choice))
            print(f"\ncft less {BASELINE}, {name}: {effect}: {verdict(effect, effect.p)}")


def against(runs: Sequence[Sequence[Row]], method: str, choice: Callable[..., Row]) -> Scores:
    """Paired differences of a method to the baseline."""
    mine, theirs = ([choice(rows, name) for rows in runs] for name in (method, BASELINE))
    return paired_difference(scores(mine), scores(theirs))


def scores(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Pool -> [seeds, problems]."""
    pools: list[str] = list(rows[0]["pools"])
    return {pool: np.array([row["pools"][pool] for row in rows], dtype=float) for pool in pools}


def mean(rows: Sequence[Row], pools: Sequence[str]) -> float:
    """Mean over some pools, or all of them."""
    found = scores(rows)
    return float(np.mean([found[pool].mean() for pool in pools or found]))


def interval(values: Scores) -> str:
    """``.603 [.590, .620]``."""
    effect = paired_effect(values)
    return f"{effect.mean:.3f} [{effect.low:.3f}, {effect.high:.3f}]"


if __name__ == "__main__":
    typer.run(main)
