r"""The label-free experiment in miniature: what a reward without ground truth teaches, and when.

    python scripts/label_free.py                        # every reward, three seeds, both bases
    python scripts/label_free.py --seeds 1 --arm random # a part of it; runs that exist are kept

Trains with ``rlreason train`` on two base models. On ``lengths`` (built here in half a minute) the
length of a solution tells whether it is right; on ``shipped`` (tiny-arithmetic) it tells nothing.
Measured every 6 steps: sampled accuracy on held-out problems, last box, any format. The last step
is the one reported, so no checkpoint is chosen. The reward's peak (45 of 90 tokens) *was* chosen,
by us, knowing that right solutions have 40 to 45 tokens; nobody has that knowledge on a real task.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from build_tiny_arithmetic import build_lengths

RECIPE = Path(__file__).with_name("label_free.yaml")
STEPS = 36
BUILD_SEED = 1


def form(**options: str | float) -> str:
    """A reward of form, as an override of the recipe."""
    reward = {
        "use": "rewards.format_length:FormatLength",
        "max_tokens": 90,
        "weight": 0.5,
        "format": "strict_think",
        **options,
    }
    return f"scoring.reward={json.dumps(reward)}"


TRUTH = "scoring.reward=rewards.boxed_exact:BoxedExact"
RANDOM = "scoring.reward=rewards.random_score:RandomScore"
VOTE = "scoring.reward=rewards.majority_vote:MajorityVote"
TRUTH_AND_LENGTH = "scoring.reward=" + json.dumps(
    {
        "use": "rewards.weighted_sum:WeightedSum",
        "parts": {
            "correct": {"use": "rewards.boxed_exact:BoxedExact"},
            "length": {
                "use": "rewards.format_length:FormatLength",
                "max_tokens": 90,
                "terms": "length",
            },
        },
    }
)
HELD = ("algorithm.advantage=centered", "algorithm.kl=0.1")
"""Without the division by the standard deviation, and on a leash: what keeps length from taking
over once all rewards of a group are nearly equal."""


class Arm(NamedTuple):
    """One line of the table."""

    title: str
    overrides: tuple[str, ...]
    bases: tuple[str, ...] = ("lengths",)


ARMS = {
    "truth": Arm("ground truth (right and well formed)", (TRUTH,), ("lengths", "shipped")),
    "truth-length": Arm("correctness + length, centred, KL 0.1", (TRUTH_AND_LENGTH, *HELD)),
    "surrogate": Arm("**format-length, centred, KL 0.1**", (form(), *HELD), ("lengths", "shipped")),
    "surrogate-std": Arm("format-length, divided by std, no KL", (form(),)),
    "format": Arm("format only", (form(terms="format"),), ("lengths", "shipped")),
    "length": Arm("length only", (form(terms="length"),)),
    "vote": Arm("majority vote", (VOTE,), ("lengths", "shipped")),
    "random": Arm("random", (RANDOM,)),
}


class Curve(NamedTuple):
    """One run's held-out measurements."""

    versions: list[int]
    accuracy: list[float]
    """Sampled, mean over the pools."""
    tokens: list[float]
    """Per greedy completion, mean over the pools."""


def train(base: Path | str, arm: Arm, seed: int, folder: Path, name: str) -> Curve:
    """One run of the product, or what is left of it from an earlier call."""
    evaluations = folder / name / "evaluations.jsonl"
    if not _is_complete(evaluations):
        command = [
            *(sys.executable, "-m", "rlreason", "train", str(RECIPE)),
            *(f"run.name={name}", f"run.folder={folder}", f"run.seed={seed}", f"model.path={base}"),
            *arm.overrides,
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        start = time.monotonic()
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    return _curve(evaluations)


def _is_complete(evaluations: Path) -> bool:
    return evaluations.is_file() and _curve(evaluations).versions[-1:] == [STEPS]


def _curve(evaluations: Path) -> Curve:
    rows = [json.loads(line) for line in evaluations.read_text(encoding="utf-8").splitlines()]
    pools = [row["pools"].values() for row in rows]
    return Curve(
        [row["version"] for row in rows],
        [statistics.fmean(pool["avg_at_k"]["mean"] for pool in of_row) for of_row in pools],
        [statistics.fmean(pool["mean_tokens"] for pool in of_row) for of_row in pools],
    )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}f} ± {deviation:.{digits}f}"


def table(curves: dict[str, dict[str, list[Curve]]], base: str) -> str:
    """Markdown: one line per reward, one column per evaluation."""
    versions = next(iter(curves[base].values()))[0].versions
    lines = [
        "| reward | " + " | ".join(f"step {version}" for version in versions) + " | tokens |",
        "|---" * (len(versions) + 2) + "|",
    ]
    for name, runs in curves[base].items():
        columns = zip(*(run.accuracy for run in runs), strict=True)
        means = [f"{statistics.fmean(column):.2f}" for column in columns]
        means[-1] = spread([run.accuracy[-1] for run in runs])
        tokens = spread([run.tokens[-1] for run in runs], 0)
        lines.append(f"| {ARMS[name].title} | " + " | ".join([*means, tokens]) + " |")
    return "\n".join(lines)


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread"


def main(
    folder: Annotated[Path, typer.Option(help="Where runs and results go.")] = Path("label_free"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each reward: seeds 0, 1, ...")] = 3,
    arm: Annotated[list[str] | None, typer.Option(help=f"Any of {', '.join(ARMS)}.")] = None,
) -> None:
    """Run the experiment; write results.md and results.json."""
    chosen = {name: ARMS[name] for name in arm} if arm else ARMS
    bases: dict[str, Path | str] = {"lengths": folder / "base", "shipped": "tiny-arithmetic"}
    if not (folder / "base" / "config.json").is_file():
        torch.set_num_threads(1)
        build_lengths(folder / "base", BUILD_SEED)
    curves: dict[str, dict[str, list[Curve]]] = {}
    for name, one in chosen.items():
        for base in one.bases:
            curves.setdefault(base, {})[name] = [
                train(bases[base], one, seed, folder, f"{base}-{name}-{seed}")
                for seed in range(seeds)
            ]
    text = [f"Sampled held-out accuracy, {seeds} seeds, ± sd over seeds ({_machine()})."]
    for base in curves:
        text += [f"\nBase model `{base}`:\n", table(curves, base)]
    (folder / "results.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    values = {
        base: {name: [run._asdict() for run in runs] for name, runs in of_base.items()}
        for base, of_base in curves.items()
    }
    results = {"machine": _machine(), "build_seed": BUILD_SEED, "curves": values}
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    typer.run(main)
