#!/usr/bin/env python
r"""How right, how fast and how large the answer verifier is, beside math-verify's defaults.

    python scripts/bench_verifier.py                 # the pairs in tests/rewards
    python scripts/bench_verifier.py --json out.json pairs.yaml

Both judge the same pairs in this process, one after the other: ours with ``verify(gold,
completion)``, math-verify as its README calls it (``verify(parse(gold), parse(completion))``, the
gold between dollars, its own time limits on). Only the first judgement of a pair is timed.
"""

from __future__ import annotations

import json
import logging
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parent.parent / "tests" / "rewards"
sys.path[:0] = [str(TESTS.parent.parent), str(TESTS)]

from answer_pairs import NO_FALSE_POSITIVES, Pair, read_pairs  # noqa: E402

from rewards.math_answer import verify  # noqa: E402
from rewards.mathematics.symbolic import PROCESS  # noqa: E402


class Judgement(NamedTuple):
    """One verifier's word on one pair."""

    pair: Pair
    verdict: bool | None
    """None when it raised."""
    seconds: float
    needed_sympy: bool


Judge = Callable[[str, str], tuple[bool, bool]]


def ours(gold: str, completion: str) -> tuple[bool, bool]:
    """Verdict, and whether the symbolic process was asked."""
    verdict = verify(gold, completion)
    return verdict.correct, verdict.reason == "math-verify" or verdict.outcome == "timeout"


def math_verify_judge() -> Judge:
    """math-verify with its defaults; imported late, so that our memory is measured without it."""
    import math_verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)

    def judge(gold: str, completion: str) -> tuple[bool, bool]:
        parsed = math_verify.parse(f"${gold}$"), math_verify.parse(completion)
        return math_verify.verify(*parsed), True

    return judge


def measure(pairs: list[Pair], judge: Judge) -> list[Judgement]:
    """Every pair judged once, in order."""
    judgements = []
    for pair in pairs:
        start = time.perf_counter()
        try:
            verdict, needed_sympy = judge(pair.gold, pair.completion)
        except Exception as error:  # a verifier that raises is a result
            print(f"raised on {pair.gold!r:.60}: {error!r:.200}", file=sys.stderr)
            verdict, needed_sympy = None, True
        judgements.append(Judgement(pair, verdict, time.perf_counter() - start, needed_sympy))
    return judgements


def summary(judgements: list[Judgement]) -> dict[str, Any]:
    """The figures of one verifier on some pairs."""
    seconds = sorted(judgement.seconds for judgement in judgements)
    false = [judged for judged in judgements if judged.verdict != judged.pair.is_right]
    return {
        "pairs": len(judgements),
        "accuracy": 1 - len(false) / len(judgements),
        "false_positives": sum(judged.verdict is True for judged in false),
        "false_negatives": sum(judged.verdict is False for judged in false),
        "crashes": sum(judged.verdict is None for judged in false),
        "median_s": statistics.median(seconds),
        "p99_s": seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))],
        "slowest_s": seconds[-1],
        "without_sympy_frac": sum(not judged.needed_sympy for judged in judgements)
        / len(judgements),
    }


def report(judgements: list[Judgement]) -> dict[str, Any]:
    """All pairs, each category, and all but the bombs, where the latency bars hold."""
    categories = list(dict.fromkeys(judged.pair.category for judged in judgements))
    ordinary = [one for one in judgements if one.pair.category != NO_FALSE_POSITIVES[1]]
    return {
        "all": summary(judgements),
        "without bombs": summary(ordinary or judgements),
        "categories": {
            name: summary([judged for judged in judgements if judged.pair.category == name])
            for name in categories
        },
    }


def max_resident_gib(who: int) -> float:
    """Largest resident size so far, of this process or of any child that has ended."""
    return resource.getrusage(who).ru_maxrss / 2**20


def table(reports: dict[str, dict[str, Any]]) -> Table:
    """Right/pairs, false positives and false negatives by category, and the totals."""
    shown = Table("category", title="right of pairs, false positives / false negatives")
    for name in reports:
        shown.add_column(name, justify="right")
    first = next(iter(reports.values()))
    for category in first["categories"]:
        shown.add_row(category, *(_cell(one["categories"][category]) for one in reports.values()))
    shown.add_section()
    shown.add_row("all", *(_cell(one["all"]) for one in reports.values()))
    for label, part, key, scale, unit in (
        ("accuracy", "all", "accuracy", 100, "%"),
        ("crashes", "all", "crashes", 1, ""),
        ("median", "all", "median_s", 1000, "ms"),
        ("p99 without bombs", "without bombs", "p99_s", 1000, "ms"),
        ("slowest", "all", "slowest_s", 1000, "ms"),
        ("never needed sympy", "all", "without_sympy_frac", 100, "%"),
    ):
        cells = (f"{one[part][key] * scale:.4g} {unit}" for one in reports.values())
        shown.add_row(label, *cells)
    return shown


def _cell(figures: dict[str, Any]) -> str:
    right = round(figures["accuracy"] * figures["pairs"])
    wrong = f"{figures['false_positives']} / {figures['false_negatives']}"
    return f"{right} of {figures['pairs']}   {wrong}"


def main(
    files: Annotated[list[Path] | None, typer.Argument(help="Pairs in YAML.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write figures here.")] = None,
    peer: Annotated[bool, typer.Option(help="Also run math-verify's defaults.")] = True,
) -> None:
    """Judge the pairs and print the figures."""
    shipped = [TESTS / "answer_pairs.yaml", TESTS / "answer_pairs_held_out.yaml"]
    pairs = [pair for path in files or shipped for pair in read_pairs(str(path.resolve()))]
    mine = measure(pairs, ours)
    PROCESS.close()  # so that the system counts it among the ended ones
    memory = {"verifier_gib": max_resident_gib(resource.RUSAGE_SELF)}
    memory["symbolic_process_gib"] = max_resident_gib(resource.RUSAGE_CHILDREN)
    reports = {"rlreason": report(mine)}
    if peer:
        reports["math-verify"] = report(measure(pairs, math_verify_judge()))
    console = Console()
    console.print(table(reports))
    console.print("memory:", ", ".join(f"{name} {size:.2f}" for name, size in memory.items()))
    for judged in mine:
        if judged.verdict != judged.pair.is_right:
            console.print(f"wrong: {judged.pair!r:.200}", markup=False)
    if json_file is not None:
        json_file.write_text(json.dumps({"memory": memory, **reports}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
