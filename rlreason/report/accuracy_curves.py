"""Held-out accuracy over the run, against steps and against what was sampled to get there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlreason.metrics import StepMetrics
from rlreason.report.chart import (
    BLUE,
    GREY,
    Chart,
    Figure,
    band,
    buttons,
    layout,
    line,
    pool_axis,
    row_height,
)
from rlreason.report.pool_series import labels

MAX_PANELS = 24
"""Of more pools, those get a curve whose accuracy has changed most; the map shows all."""

_COLUMNS = 4
_ROW_HEIGHT = 150
_GAP = 0.035
"""Between the columns, as a share of the width."""

_MAP_COLORS = [[0, "#f4f6f8"], [0.5, "#74c4a0"], [1, "#00573f"]]

Row = Mapping[str, Any]
"""One evaluation, as evaluations.jsonl has it."""
Numbers = list[float | None]


class Spent:
    """Completion tokens that had been sampled for training when a version was evaluated."""

    def __init__(self, rows: Sequence[StepMetrics]) -> None:
        # Version v is what step v - 1 made.
        self._before = {row.step + 1: row for row in rows}

    def in_all(self, version: int) -> int | None:
        """Over all pools; None where the step before is not on record."""
        if version == 0:
            return 0
        row = self._before.get(version)
        return row.rollout_tokens_so_far if row else None

    def on(self, pool: str, version: int) -> int | None:
        """For one pool."""
        if version == 0:
            return 0
        row = self._before.get(version)
        return row.pools[pool].tokens_so_far if row and pool in row.pools else None


def overall_curves(evaluations: Sequence[Row], spent: Spent) -> list[Chart]:
    """All held-out problems together, against steps and against tokens."""
    versions = [row["version"] for row in evaluations]
    tokens = [spent.in_all(version) for version in versions]
    against: list[tuple[str, str, str, Sequence[float | None]]] = [
        ("accuracy_over_versions", "Accuracy against steps", "policy version", versions),
        ("accuracy_over_tokens", "Accuracy against tokens", "tokens sampled for training", tokens),
    ]
    return [
        Chart(
            id=chart_id,
            title=title,
            note="all held-out problems, greedy, with 95 % intervals; dotted: each pool alike",
            figure={"data": _overall(evaluations, x), "layout": _unit_layout(x_title)},
        )
        for chart_id, title, x_title, x in against
    ]


def pool_curves(evaluations: Sequence[Row], spent: Spent) -> Chart:
    """One small chart per pool; buttons choose steps or tokens."""
    names = most_changed(evaluations, MAX_PANELS)
    versions = [row["version"] for row in evaluations]
    axes: dict[str, Callable[[str], Numbers]] = {
        "against steps": lambda _: list(versions),
        "against tokens in all": lambda _: [spent.in_all(version) for version in versions],
        "against tokens of the pool": lambda pool: [spent.on(pool, v) for v in versions],
    }
    choices: list[tuple[str, Figure, Figure]] = []
    for label, x_of in axes.items():
        xs = [x for name in names for x in (_closed(x_of(name)), x_of(name))]
        choices.append((label, {"x": xs}, {}))
    data: list[Figure] = []
    for index, name in enumerate(names):
        data += _panel(index, [row["pools"][name]["greedy"] for row in evaluations], versions)
    every = len(names) == len(evaluations[-1]["pools"])
    which = "every pool" if every else f"the {len(names)} pools whose accuracy has changed most"
    return Chart(
        id="pool_curves",
        title="Accuracy per pool",
        note=f"{which}; share of held-out problems solved by the greedy answer, 95 % intervals",
        figure={"data": data, "layout": _panels(names, evaluations) | {"updatemenus": [
            buttons(choices) | {"y": 1.0, "pad": {"b": 30}}
        ]}},
        wide=True,
    )  # fmt: skip


def accuracy_map(evaluations: Sequence[Row]) -> Chart:
    """Every pool's accuracy at every evaluation, for more pools than curves can show."""
    pools = list(evaluations[-1]["pools"])
    greedy = [[row["pools"][name]["greedy"] for row in evaluations] for name in pools]
    names, cell = labels(pools), row_height(len(pools))
    trace = {
        "type": "heatmap",
        "x": [row["version"] for row in evaluations],
        "y": names,
        "z": [[item["mean"] for item in items] for items in greedy],
        "customdata": [[_interval(item) for item in items] for items in greedy],
        "hovertemplate": "<b>%{y}</b>, version %{x}<br>%{customdata}<extra></extra>",
        "colorscale": _MAP_COLORS,
        "zmin": 0,
        "zmax": 1,
        "colorbar": {"thickness": 12, "outlinewidth": 0},
    }
    axes = layout(height=90 + cell * len(pools), x_title="policy version")
    axes["hovermode"] = "closest"
    axes["yaxis"] |= pool_axis(names)
    return Chart(
        id="accuracy_map",
        title="Accuracy of every pool",
        note="share of held-out problems solved by the greedy answer",
        figure={"data": [trace], "layout": axes},
        wide=True,
    )


def most_changed(evaluations: Sequence[Row], count: int) -> list[str]:
    """The pools whose greedy accuracy differs most between first and last, in their order."""
    first, last = evaluations[0]["pools"], evaluations[-1]["pools"]
    names = [name for name in last if all(name in row["pools"] for row in evaluations)]

    def change(name: str) -> float:
        return abs(last[name]["greedy"]["mean"] - first[name]["greedy"]["mean"])

    kept = set(sorted(names, key=change, reverse=True)[:count])
    return [name for name in names if name in kept]


def _overall(evaluations: Sequence[Row], x: Sequence[float | None]) -> list[Figure]:
    greedy = [row["overall"]["greedy"] for row in evaluations]
    means = line("accuracy", x, [item["mean"] for item in greedy], BLUE)
    means |= {
        "mode": "lines+markers",
        "customdata": [_interval(item) for item in greedy],
        "hovertemplate": "%{customdata}",
    }
    macro = line("mean over pools", x, [row["macro_greedy"] for row in evaluations], GREY)
    macro["line"] |= {"dash": "dot"}
    return [_band(x, greedy), means, macro]


def _panel(index: int, greedy: Sequence[Mapping[str, float]], x: Sequence[int]) -> list[Figure]:
    place = {"xaxis": f"x{index + 1}", "yaxis": f"y{index + 1}"}
    curve = line("", x, [item["mean"] for item in greedy], BLUE) | {
        "mode": "lines+markers",
        "marker": {"size": 5},
        "customdata": [
            f"version {version}: {_interval(item)}" for version, item in zip(x, greedy, strict=True)
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    return [_band(x, greedy) | place, curve | place]


def _panels(names: Sequence[str], evaluations: Sequence[Row]) -> Figure:
    columns = min(_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    plain = layout(height=70 + _ROW_HEIGHT * rows)
    axis = plain.pop("xaxis") | {"title": {"text": ""}}
    plain |= {"hovermode": "closest", "annotations": []}
    plain["margin"] |= {"t": 58, "l": 34, "b": 6}
    del plain["yaxis"]
    gap, width = 34 / (_ROW_HEIGHT * rows), (1 - _GAP * (columns - 1)) / columns
    for index, (name, label) in enumerate(zip(names, labels(names), strict=True)):
        row, column = divmod(index, columns)
        left, top = column * (width + _GAP), 1 - row / rows
        number = "" if index == 0 else str(index + 1)
        across = [left, left + width]
        down = [max(0.0, top - 1 / rows + gap), top - gap / 2]
        plain[f"xaxis{number}"] = axis | {
            "domain": across,
            "anchor": f"y{number}",
            "nticks": 4,
            **({"matches": "x"} if index else {}),
        }
        plain[f"yaxis{number}"] = axis | {
            "domain": down, "anchor": f"x{number}", "range": [-0.03, 1.03],
            "tickvals": [0, 0.5, 1], "automargin": False,
        }  # fmt: skip
        plain["annotations"].append(_heading(label, _course(name, evaluations), left, down[1]))
    return plain


def _heading(label: str, course: str, x: float, y: float) -> Figure:
    return {
        "text": f"<b>{label}</b>  {course}", "showarrow": False, "font": {"size": 12},
        "x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom",
    }  # fmt: skip


def _course(name: str, evaluations: Sequence[Row]) -> str:
    first, last = (
        row["pools"][name]["greedy"]["mean"] for row in (evaluations[0], evaluations[-1])
    )
    return f"{first:.2f} → {last:.2f}"


def _band(x: Sequence[float | None], greedy: Sequence[Mapping[str, float]]) -> Figure:
    return band(x, [item["low"] for item in greedy], [item["high"] for item in greedy], BLUE)


def _closed(x: Numbers) -> Numbers:
    """The x of a band: there and back."""
    return [*x, *reversed(x)]


def _interval(item: Mapping[str, float]) -> str:
    return f"{item['mean']:.3f} [{item['low']:.3f}, {item['high']:.3f}]"


def _unit_layout(x_title: str) -> Figure:
    axes = layout(height=260, x_title=x_title)
    axes["yaxis"] |= {"range": [-0.02, 1.02]}
    return axes
