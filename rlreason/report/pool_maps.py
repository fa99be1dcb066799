"""The pools over the run: one map that shows weight, reward or cost, and the weights as lines."""

from __future__ import annotations

import html
from collections.abc import Sequence

from rlreason.report.chart import Chart, Figure, buttons, layout, line, pool_axis, ramp, row_height
from rlreason.report.pool_series import Grid, PoolSeries, Value

MAX_LINES = 16
"""Lines beyond this number cannot be told apart; the pools that weighed most get them."""

_BLUES = [[0, "#f3f7fb"], [0.35, "#9ecae1"], [0.7, "#3182bd"], [1, "#08306b"]]
_GREENS = [[0, "#f4faf6"], [0.5, "#74c4a0"], [1, "#005a45"]]
_REDS = [[0, "#fdf7f2"], [0.5, "#f0a56b"], [1, "#8c2f00"]]
_PURPLES = [[0, "#f8f5fa"], [0.5, "#b69ac9"], [1, "#4a2a66"]]


def pool_map(series: PoolSeries) -> Chart:
    """Pools down, steps across; buttons choose what the colour shows."""
    names = series.labels
    cell = row_height(len(names))
    modes = _modes(series)
    _, first, colors, top = modes[0]
    trace = {
        "type": "heatmap",
        "x": list(series.first_steps),
        "y": list(names),
        "z": first,
        "customdata": _behind(series),
        "hovertemplate": _hover(series),
        "hoverongaps": False,
        "colorscale": colors,
        "zmin": 0,
        "zmax": top,
        "colorbar": {"thickness": 12, "outlinewidth": 0},
        "ygap": 1 if cell > 8 else 0,
    }
    axes = layout(height=110 + cell * len(names))
    axes["margin"]["t"] = 52
    axes["hovermode"] = "closest"
    axes["yaxis"] |= pool_axis(names)
    axes["xaxis"] |= {"showgrid": False}
    choices: list[tuple[str, Figure, Figure]] = [
        (label, {"z": [grid], "colorscale": [scale], "zmax": [highest]}, {})
        for label, grid, scale, highest in modes
    ]
    axes["updatemenus"] = [buttons(choices)]
    span = "" if series.stride == 1 else f"; a column is {series.stride} steps"
    return Chart(
        id="pool_map",
        title="The pools over the run",
        note=f"choose what the colour shows; point at a cell to see why{span}",
        figure={"data": [trace], "layout": axes},
        wide=True,
    )


def weight_lines(series: PoolSeries) -> Chart:
    """The weights of the pools that ever weighed most."""
    order = sorted(
        range(len(series.names)), key=lambda index: -max(_known(series.weight[index]), default=0.0)
    )
    shown = sorted(order[:MAX_LINES])
    lines = [
        line(series.labels[index], series.first_steps, series.weight[index], color)
        for index, color in zip(shown, ramp(len(shown)), strict=True)
    ]
    left = len(series.names) - len(shown)
    which = f"the {len(shown)} that ever weighed most" if left else "in the order of the recipe"
    axes = layout(height=340, legend="right")
    axes["yaxis"] |= {"rangemode": "tozero"}
    return Chart(
        id="weight_lines",
        title="Weights as lines",
        note=f"pools, {which}, dark to light; click a name to hide it, twice to see it alone",
        figure={"data": lines, "layout": axes},
        wide=True,
    )


def _modes(series: PoolSeries) -> list[tuple[str, Grid, list[list[object]], float]]:
    """Label, values, colours and highest value of each thing that the map can show."""
    best = max(1.0, _top(series.reward))
    return [
        ("weight", series.weight, _BLUES, _top(series.weight)),
        ("mean reward", series.reward, _GREENS, best),
        ("all right", series.solved, _GREENS, 1.0),
        ("all wrong", series.hopeless, _REDS, 1.0),
        ("problems drawn", _blank_zeros(series.draws), _BLUES, _top(series.draws)),
        ("reuse", series.reuse, _PURPLES, max(1.0, _top(series.reuse))),
        ("tokens", _blank_zeros(series.tokens), _PURPLES, _top(series.tokens)),
    ]


def _behind(series: PoolSeries) -> list[list[list[object]]]:
    """[pools][columns] what a cell says on hover, as numbers; a dash where nothing was drawn."""
    grids = [
        series.weight, series.draws, series.reward, series.solved, series.hopeless,
        series.reuse, series.tokens, *series.terms.values(),
    ]  # fmt: skip
    return [
        [["-" if value is None else value for value in cell] for cell in zip(*columns, strict=True)]
        for columns in zip(*grids, strict=True)
    ]


def _hover(series: PoolSeries) -> str:
    step = "step %{x}" if series.stride == 1 else f"{series.stride} steps from %{{x}}"
    terms = [
        f"{html.escape(key, quote=False).replace('%', '')} %{{customdata[{index}]}}"
        for index, key in enumerate(series.terms, start=7)
    ]
    lines = [
        f"<b>%{{y}}</b>, {step}",
        "weight %{customdata[0]}",
        *terms,
        "%{customdata[1]} drawn, reward %{customdata[2]}",
        "all right %{customdata[3]}, all wrong %{customdata[4]}",
        "drawn before %{customdata[5]} times, %{customdata[6]} tokens",
    ]
    return "<br>".join(lines) + "<extra></extra>"


def _known(values: Sequence[Value]) -> list[float]:
    return [value for value in values if value is not None]


def _top(grid: Grid) -> float:
    return max((max(_known(values), default=0.0) for values in grid), default=0.0) or 1.0


def _blank_zeros(grid: Grid) -> Grid:
    return [[value or None for value in values] for values in grid]
