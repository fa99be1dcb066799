"""Trains a recipe with several seeds and prints its held-out accuracy as a Markdown table.

    .venv/bin/python scripts/seeds_table.py grpo.yaml grpo_uniform.yaml --seeds 0,1,2

Runs that are already finished are only read. What is reported is the last version of every run,
never the best one. ``--pools`` names the pools whose mean is shown beside the rest: for the default
recipe the six learnable ones, as the recipe's comments list them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

LEARNABLE = "add3,add4,add5,sum6,sum12,max10"


def main(
    recipes: Annotated[list[str], typer.Argument(help="Recipes to train.")],
    seeds: Annotated[str, typer.Option(help="Seeds, with commas.")] = "0,1,2",
    pools: Annotated[str, typer.Option(help="Pools of the mean, with commas.")] = LEARNABLE,
    folder: Annotated[Path, typer.Option(help="Where the runs go.")] = Path("runs"),
) -> None:
    """Train what is missing, then print the table."""
    names = pools.split(",")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print("| recipe | seed | " + " | ".join(names) + " | mean before | mean after |")
    print("|" + "---|" * (len(names) + 4))
    for recipe in recipes:
        last = []
        for seed in seeds.split(","):
            run = folder / f"{Path(recipe).stem}-{seed}"
            train(recipe, seed, run)
            row, mean = table_row(recipe, seed, run, names)
            last.append(mean)
            print(row, flush=True)
        spread = statistics.stdev(last) if len(last) > 1 else float("nan")
        blank = " |" * len(names)
        print(f"| {recipe} | all |{blank} | {statistics.fmean(last):.3f} +- {spread:.3f} |")


def train(recipe: str, seed: str, run: Path) -> None:
    """Train one run, quietly; a finished one returns at once."""
    command = [sys.executable, "-m", "rlreason", "train", recipe]
    options = [f"run.seed={seed}", f"run.name={run.name}", f"run.folder={run.parent}"]
    if (run / "report.html").exists():
        return
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command + options)} failed:\n{done.stdout}{done.stderr}")


def table_row(recipe: str, seed: str, run: Path, names: list[str]) -> tuple[str, float]:
    """One Markdown row, and the mean greedy accuracy of the last version over ``names``."""
    first, *_, last = read(run / "evaluations.jsonl")
    before, after = (
        [evaluation["pools"][name]["greedy"]["mean"] for name in names]
        for evaluation in (first, last)
    )
    cells = [f"{value:.2f} -> {now:.2f}" for value, now in zip(before, after, strict=True)]
    means = f"{statistics.fmean(before):.3f} | {statistics.fmean(after):.3f}"
    row = " | ".join([recipe, seed, *cells, means])
    return f"| {row} |", statistics.fmean(after)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    typer.run(main)
