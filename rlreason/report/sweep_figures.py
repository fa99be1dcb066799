"""The charts of a sweep: curves with bands, differences with intervals, pools side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from rlreason.report.chart import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Chart,
    Figure,
    band,
    layout,
    line,
)
from rlreason.sweep.analysis import Analysis, Comparison
from rlreason.sweep.results import TrialResult
from rlreason.sweep.stats import CONFIDENCE

_COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, "#b8860b", "#5b5f97")


def arm_colors(analysis: Analysis) -> dict[str, str]:
    """Arm -> colour; the baseline is grey."""
    others = [arm.arm for arm in analysis.arms if arm.arm != analysis.baseline]
    colors = {arm: _COLORS[index % len(_COLORS)] for index, arm in enumerate(others)}
    return {analysis.baseline: GREY} | colors


def curve_charts(
    results: Sequence[TrialResult], analysis: Analysis, threshold: float
) -> list[Chart]:
    """Accuracy over steps and over tokens: the mean over seeds, with its interval."""
    by_arm = {
        arm.arm: [result for result in results if result.arm == arm.arm] for arm in analysis.arms
    }
    note = f"mean over {len(analysis.pools)} pools and over seeds; band: 95 % interval over seeds"
    colors = arm_colors(analysis)
    return [
        _curves("steps", "Accuracy over steps", note, by_arm, analysis.pools, colors, threshold),
        _curves("tokens", "Accuracy over tokens", note, by_arm, analysis.pools, colors, threshold),
    ]


def difference_chart(analysis: Analysis) -> Chart:
    """Every arm's difference to the baseline in final accuracy, and without its best pool."""
    names = [item.arm for item in analysis.comparisons]
    whole = [(item.final.mean, item.final.low, item.final.high) for item in analysis.comparisons]
    rest = [_without(item) for item in analysis.comparisons]
    data = [
        _intervals("all counted pools", names, whole, BLUE),
        _intervals("without the pool that contributes most", names, rest, GREY),
    ]
    axes = layout(
        height=130 + 44 * len(names), legend="top", x_title=f"difference to {analysis.baseline}"
    )
    axes["yaxis"] |= {"autorange": "reversed", "type": "category"}
    axes["xaxis"] |= {"zeroline": True, "zerolinecolor": "#8a929c"}
    axes["hovermode"] = "closest"
    axes["scattermode"] = "group"
    return Chart(
        id="differences",
        title=f"Final accuracy against {analysis.baseline}",
        note="paired by seed and held-out problem, 95 % intervals; what crosses 0 is not shown",
        figure={"data": data, "layout": axes},
        wide=True,
    )


def pool_chart(analysis: Analysis) -> Chart:
    """Final accuracy of every pool and arm as a heat map."""
    arms = [arm.arm for arm in analysis.arms]
    pools = list(analysis.arms[0].final_by_pool)
    values = [[arm.final_by_pool[pool] for arm in analysis.arms] for pool in pools]
    figure: Figure = {
        "type": "heatmap",
        "x": arms,
        "y": [f"{pool} *" if pool in analysis.pools else pool for pool in pools],
        "z": values,
        "text": [[f"{value:.2f}" for value in row] for row in values],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y}, %{x}<br>%{z:.3f}<extra></extra>",
        "colorscale": [[0, "#f5f9fd"], [0.5, "#9ecae1"], [1, "#3182bd"]],
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
    }
    axes = layout(height=110 + 26 * len(pools), x_title="")
    axes["yaxis"] |= {"autorange": "reversed", "type": "category", "showgrid": False}
    axes["xaxis"] |= {"type": "category", "showgrid": False}
    return Chart(
        id="pools",
        title="Final accuracy per pool",
        note="mean over seeds; pools with * count for the comparison",
        figure={"data": [figure], "layout": axes},
        wide=True,
    )


def _curves(
    over: str,
    title: str,
    note: str,
    by_arm: Mapping[str, Sequence[TrialResult]],
    pools: Sequence[str],
    colors: Mapping[str, str],
    threshold: float,
) -> Chart:
    data: list[Figure] = []
    for arm, runs in by_arm.items():
        places = [run.tokens if over == "tokens" else run.versions for run in runs]
        at = np.mean(places, axis=0).tolist()
        curves = np.array([run.curve(pools) for run in runs])
        mean = curves.mean(axis=0)
        if len(runs) > 1:
            half = _half_width(curves)
            low, high = np.clip([mean - half, mean + half], 0, 1).tolist()
            data.append(band(at, low, high, colors[arm]))
        data.append(line(arm, at, mean.tolist(), colors[arm]))
    axes = layout(height=320, legend="top", x_title=over)
    axes["yaxis"] |= {"range": [-0.02, 1.02]}
    axes["shapes"] = [
        {
            "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": threshold, "y1": threshold,
            "line": {"color": GREY, "width": 1, "dash": "dot"},
        }
    ]  # fmt: skip
    return Chart(
        id=f"curves_{over}",
        title=title,
        note=note,
        figure={"data": data, "layout": axes},
        wide=True,
    )


def _half_width(curves: np.ndarray) -> np.ndarray:
    count = len(curves)
    error = curves.std(axis=0, ddof=1) / np.sqrt(count)
    return np.asarray(error * stats.t(count - 1).ppf((1 + CONFIDENCE) / 2))


def _without(comparison: Comparison) -> tuple[float | None, float, float]:
    effect = comparison.without
    return (None, 0.0, 0.0) if effect is None else (effect.mean, effect.low, effect.high)


def _intervals(
    name: str,
    names: Sequence[str],
    values: Sequence[tuple[float | None, float, float]],
    color: str,
) -> Figure:
    def arm_length(mean: float | None, end: float) -> float:
        return abs(end - mean) if mean is not None and np.isfinite(end) else 0.0

    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "orientation": "h",  # so that the two of one arm are drawn one above the other
        "x": [mean for mean, _, _ in values],
        "y": list(names),
        "marker": {"color": color, "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [arm_length(mean, high) for mean, _, high in values],
            "arrayminus": [arm_length(mean, low) for mean, low, _ in values],
            "color": color,
            "thickness": 1.5,
        },
        "hovertemplate": "%{y}: %{x:+.3f}",
    }
