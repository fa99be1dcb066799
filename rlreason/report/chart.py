"""What every chart of the page shares: its record, colours, lines and layout.

Figures are plotly's JSON, written directly. Colours are told apart by colour-blind readers too
(Okabe and Ito's set).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from plotly.colors import sample_colorscale

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a929c",
)  # fmt: skip
_INK, _GRID = "#3c4650", "#e7eaee"

Figure = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure with the words around it."""

    id: str
    title: str
    note: str
    figure: Figure
    wide: bool = False
    """Takes the page's whole width."""


def line(
    name: str,
    x: Sequence[float | None],
    y: Sequence[float | None],
    color: str,
    *,
    faint: bool = False,
) -> Figure:
    """One curve; None is a gap. A faint one is the raw data behind a smoothed one."""
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": color, "width": 1 if faint else 2},
        "opacity": 0.35 if faint else 1.0,
        "hovertemplate": "%{y:.4g}",
    }


def layout(
    *, height: int = 230, legend: Literal["none", "top", "right"] = "none", x_title: str = "step"
) -> Figure:
    """Plain axes on white; the caller may extend ``xaxis`` and ``yaxis``."""
    places: dict[str, Figure] = {
        "none": {},
        "top": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        "right": {"orientation": "v", "x": 1.01, "y": 1},
    }
    axis = {"gridcolor": _GRID, "zeroline": False, "automargin": True, "linecolor": _GRID}
    return {
        "height": height,
        "margin": {"l": 48, "r": 12, "t": 30 if legend == "top" else 10, "b": 36},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": _INK},
        "hovermode": "x unified",
        "showlegend": legend != "none",
        "legend": places[legend] | {"traceorder": "normal", "font": {"size": 11}},
        "xaxis": axis | {"title": {"text": x_title, "standoff": 6}},
        "yaxis": dict(axis),
    }


def band(
    x: Sequence[float | None], low: Sequence[float], high: Sequence[float], color: str
) -> Figure:
    """The area between two curves, to lie behind a line."""
    return {
        "type": "scatter",
        "mode": "none",
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": color,
        "opacity": 0.18,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def ramp(count: int) -> list[str]:
    """Colours for pools, which may be many, in their order: dark to light."""
    colors: list[str] = sample_colorscale(
        "Viridis", [0.9 * index / max(count - 1, 1) for index in range(count)]
    )
    return colors


def buttons(choices: Sequence[tuple[str, Figure, Figure]]) -> Figure:
    """A row of buttons above a chart: label, changes of the traces, changes of the layout."""
    return {
        "type": "buttons",
        "direction": "right",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "pad": {"b": 8},
        "showactive": True,
        "bgcolor": "#ffffff",
        "bordercolor": "#d5dbe1",
        "font": {"size": 12},
        "buttons": [
            {"label": label, "method": "update", "args": [traces, axes]}
            for label, traces, axes in choices
        ],
    }


def row_height(count: int) -> int:
    """Pixels for each of ``count`` pools on the y axis of a map."""
    return max(4, min(26, 900 // max(count, 1)))


def pool_axis(names: Sequence[str]) -> Figure:
    """A y axis of pools; of names that would overlap, every n-th is written."""
    shown = range(0, len(names), -(-14 // row_height(len(names))))
    return {
        "autorange": "reversed",
        "showgrid": False,
        "type": "category",
        "tickmode": "array",
        "tickvals": list(shown),
        "ticktext": [names[index] for index in shown],
    }
