"""Held-out accuracy of the first and last evaluated version, as a chart and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlreason.report.accuracy_curves import most_changed
from rlreason.report.chart import BLUE, GREY, Chart, Figure, layout
from rlreason.report.pool_series import labels

OVERALL = "all pools"
MAX_DOTS = 40
"""Of more pools, the chart shows those whose accuracy has changed most; the table has all."""

Summary = Mapping[str, Any]
"""One pool's part of an evaluation row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """A pool's line in the table; a cell that does not apply is a dash."""

    pool: str
    problems: int
    before: str
    after: str
    change: str
    rises: bool
    avg_at_k: str
    pass_at_k: str
    tokens: str
    truncated: str
    unparseable: str


def accuracy_rows(evaluations: Sequence[Mapping[str, Any]]) -> list[AccuracyRow]:
    """One row per pool, all pools together first."""
    return [_row(name, first, last) for name, first, last in _pairs(evaluations)]


def _pairs(evaluations: Sequence[Mapping[str, Any]]) -> list[tuple[str, Summary, Summary | None]]:
    """Name, first and, if there is a second evaluation, last summary of each pool."""
    first, last = evaluations[0], evaluations[-1] if len(evaluations) > 1 else None
    pairs = [(OVERALL, first["overall"], last["overall"] if last else None)]
    pairs += [
        (name, summary, last["pools"].get(name) if last else None)
        for name, summary in first["pools"].items()
    ]
    return pairs


def _row(name: str, first: Summary, last: Summary | None) -> AccuracyRow:
    shown = last or first
    change = last["greedy"]["mean"] - first["greedy"]["mean"] if last else 0.0
    passes = shown["pass_at_k"] or {}
    most = max(passes, key=int, default=None)
    return AccuracyRow(
        pool=name,
        problems=shown["num_problems"],
        before=_interval(first["greedy"]),
        after=_interval(last["greedy"]) if last else "-",
        change=f"{change:+.3f}" if last else "-",
        rises=change > 0,
        avg_at_k=_interval(shown["avg_at_k"]) if shown["avg_at_k"] else "-",
        pass_at_k=f"{passes[most]['mean']:.3f} (k = {most})" if most else "-",
        tokens=f"{shown['mean_tokens']:.0f}",
        truncated=f"{shown['truncated_frac']:.0%}",
        unparseable=f"{shown['unparseable_frac']:.0%}",
    )


def _interval(summary: Mapping[str, float]) -> str:
    return f"{summary['mean']:.3f} [{summary['low']:.3f}, {summary['high']:.3f}]"


def accuracy_chart(evaluations: Sequence[Mapping[str, Any]]) -> Chart:
    """Held-out greedy accuracy per pool, first against last evaluation, with intervals."""
    kept = {OVERALL, *most_changed(evaluations, MAX_DOTS)}
    pools = [pair for pair in _pairs(evaluations) if pair[0] in kept]
    names = labels([name for name, _, _ in pools])
    data = [_points("before", names, [first for _, first, _ in pools], GREY, "circle-open")]
    last = [item for _, _, item in pools if item is not None]
    if last:
        data.append(_points("after", names, last, BLUE, "circle"))
    axes = layout(height=100 + 30 * len(names), legend="top", x_title="held-out accuracy, greedy")
    axes["xaxis"] |= {"range": [-0.02, 1.02]}
    axes["yaxis"] |= {"autorange": "reversed", "type": "category"}
    axes["hovermode"] = "closest"
    return Chart(
        id="accuracy",
        title="Before and after",
        note="share of held-out problems solved by the greedy answer, with 95 % intervals"
        + (f"; the {MAX_DOTS} pools that changed most" if len(kept) > MAX_DOTS else ""),
        figure={"data": data, "layout": axes},
        wide=True,
    )


def _points(
    name: str, pools: list[str], summaries: Sequence[Mapping[str, Any]], color: str, symbol: str
) -> Figure:
    greedy = [summary["greedy"] for summary in summaries]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [item["mean"] for item in greedy],
        "y": pools,
        "marker": {
            "color": color,
            "size": 11,
            "symbol": symbol,
            "line": {"width": 2, "color": color},
        },
        "error_x": _error_bar(greedy) | {"color": color},
        "hovertemplate": f"%{{y}}, {name}: %{{x:.3f}}<extra></extra>",
    }


def _error_bar(summaries: Sequence[Mapping[str, float]]) -> Figure:
    return {
        "type": "data",
        "symmetric": False,
        "array": [item["high"] - item["mean"] for item in summaries],
        "arrayminus": [item["mean"] - item["low"] for item in summaries],
        "thickness": 1.5,
        "width": 3,
    }
