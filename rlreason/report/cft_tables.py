"""The numbers of a critique fine-tuning run, for the terminal and for the page alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from rlreason.redact import visible
from rlreason.report.cft_data import (
    NAMES,
    CftData,
    Row,
    by_pool,
    method_results,
    overall,
)

Lines = list[list[str]]

RESULT_HEADER = [
    "trained on",
    "runs",
    "selected",
    "at update",
    "last",
    "sampled",
    "verdicts",
    "leaks",
]
BRIEF = ("trained on", "selected", "at update", "last", "verdicts", "leaks")
"""What fits a terminal of 80 columns."""
FUNNEL_HEADER = ["generator", "teacher", "critiques", "true verdicts", "kept", "dropped"]


def result_lines(results: Sequence[Row], names: Mapping[str, str] = NAMES) -> Lines:
    """A line per method, the untrained model first."""
    base = results[0]
    greedy = overall(base)["greedy"]
    interval = f"{greedy['mean']:.3f} [{greedy['low']:.3f}, {greedy['high']:.3f}]"
    sampled = json.loads(base["detail"])["sampled"]
    average = _number(sampled and sampled["overall"]["avg_at_k"]["mean"])
    first = [names["base"], "", interval, "", "", average, _number(base["verdict_accuracy"])]
    lines = [[*first, _number(base["leak_frac"])]]
    for result in method_results(results):
        lines.append(
            [
                names[result.method],
                str(result.trainings),
                str(result.selected),
                ", ".join(map(str, result.updates)),
                str(result.last),
                str(result.sampled or "-"),
                str(result.verdicts or "-"),
                _number(result.leaks.mean),
            ]
        )
    return lines


def pool_lines(results: Sequence[Row]) -> tuple[list[str], Lines]:
    """Header and a line per pool: greedy test accuracy of the selected checkpoints, on average."""
    methods = dict.fromkeys(row["method"] for row in results)
    chosen = {
        name: [r for r in results if r["method"] == name and r["selected"]] for name in methods
    }
    header = ["pool", "problems", *(NAMES[name] for name in methods)]
    lines = []
    for pool, first in by_pool(results[0]).items():
        means = [
            sum(by_pool(row)[pool]["greedy"]["mean"] for row in rows) / len(rows)
            for rows in chosen.values()
        ]
        lines.append([pool, str(first["num_problems"]), *(f"{mean:.3f}" for mean in means)])
    return header, lines


def funnel_lines(funnel: Sequence[Row]) -> Lines:
    """A line per generator and teacher: what was asked, what was true, what is kept and why not."""
    return [
        [
            row["generator"],
            row["teacher"],
            str(row["responses"]),
            f"{row['true_verdicts']} of {row['verdicts']}",
            str(row["kept"]),
            ", ".join(f"{reason} {count}" for reason, count in sorted(row["dropped"].items())),
        ]
        for row in funnel
    ]


def stage_lines(data: CftData) -> Lines:
    """The funnel over all pairs: what each stage left of what the one before made."""
    written = sum(row["asked"] for row in data.generators)
    right = sum(row["right"] for row in data.generators)
    wrong = sum(row["wrong"] for row in data.generators)
    asked = sum(row["responses"] for row in data.funnel)
    kept = sum(row["kept"] for row in data.funnel)
    lost = sum(sum(reasons.values()) for name, reasons in data.left_out.items() if "cft." in name)
    return [
        ["seed problems", str(len(data.seeds)), ", ".join(_key(row) for row in data.seeds[:5])],
        ["candidates", str(written), f"{right} right, {wrong} wrong"],
        ["critiques", str(asked), f"of {len({e.candidate_id for e in data.examples})} candidates"],
        ["kept by the filter", str(kept), "true, different, and in the numbers wanted"],
        ["left out in training", str(lost), "too long, or not in the model's vocabulary"],
    ]


def result_table(data: CftData) -> Table:
    """What the methods reached, for the terminal."""
    lines = result_lines(data.results, {name: name for name in NAMES})
    shown = [RESULT_HEADER.index(name) for name in BRIEF]
    lines[0][RESULT_HEADER.index("selected")] = f"{overall(data.results[0])['greedy']['mean']:.3f}"
    brief = [[line[index] for index in shown] for line in lines]
    return _table("greedy accuracy on test problems (± over trainings)", BRIEF, brief)


def funnel_table(data: CftData) -> Table:
    """What became of the critiques, for the terminal."""
    return _table("critiques", FUNNEL_HEADER, funnel_lines(data.funnel))


def _table(title: str, header: Sequence[str], lines: Lines) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in header:
        table.add_column(name)
    for line in lines:
        table.add_row(*(visible(cell) for cell in line))
    return table


def _key(row: Row) -> str:
    return f"{row['pool']}/{row['problem_id']}"


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}"
