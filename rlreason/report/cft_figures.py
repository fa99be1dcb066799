"""Charts of a critique fine-tuning run: accuracy over updates, and the methods side by side."""

from __future__ import annotations

from collections.abc import Sequence

from rlreason.report.cft_data import NAMES, Row
from rlreason.report.chart import BLUE, GREEN, GREY, ORANGE, PURPLE, Chart, Figure, layout, line

COLORS = {"base": GREY, "cft": BLUE, "sft_one": ORANGE, "sft_all": GREEN, "format_only": PURPLE}


def charts(results: Sequence[Row]) -> list[Chart]:
    """All charts; none before the evaluation."""
    if not results:
        return []
    return [over_updates(results), side_by_side(results), each_training(results)]


def over_updates(results: Sequence[Row]) -> Chart:
    """Mean test accuracy of each method after each number of updates, with its trainings' range."""
    data = []
    for method in _methods(results):
        points = {0: [results[0]["test"]]}
        for row in results:
            if row["method"] == method:
                points.setdefault(row["update"], []).append(row["test"])
        updates = sorted(points)
        means = [sum(points[update]) / len(points[update]) for update in updates]
        trace = line(NAMES[method], updates, means, COLORS[method])
        trace["mode"] = "lines+markers"
        trace["error_y"] = _bars(
            [max(points[update]) for update in updates],
            means,
            [min(points[update]) for update in updates],
        )
        data.append(trace)
    axes = layout(height=320, legend="top", x_title="update")
    axes["yaxis"] |= {"range": [-0.02, 1.02]}
    return Chart(
        id="over_updates",
        title="Accuracy over training",
        note="greedy, on test problems; mean of the trainings, bars from the lowest to the highest",
        figure={"data": data, "layout": axes},
        wide=True,
    )


def side_by_side(results: Sequence[Row]) -> Chart:
    """The selected checkpoints, one point per training, with 95 % intervals over problems."""
    data = [_points(method, results) for method in ("base", *_methods(results))]
    axes = layout(height=300, x_title="")
    axes["yaxis"] |= {"range": [-0.02, 1.02]}
    axes["xaxis"] |= {"type": "category"}
    axes["hovermode"] = "closest"
    return Chart(
        id="side_by_side",
        title="What was trained on",
        note="greedy test accuracy of each training's selected checkpoint, with 95 % intervals",
        figure={"data": data, "layout": axes},
        wide=True,
    )


def each_training(results: Sequence[Row]) -> Chart:
    """Every checkpoint of every critique training, with 95 % intervals over problems."""
    trainings: dict[tuple[str, int], list[Row]] = {}
    for row in results:
        if row["method"] == "cft":
            trainings.setdefault((row["group"], row["seed"]), [results[0]]).append(row)
    colors = (BLUE, ORANGE, GREEN, PURPLE, GREY)
    data = []
    for index, ((group, seed), rows) in enumerate(trainings.items()):
        name = f"seed {seed}" if group == "all" else f"{group}, seed {seed}"
        updates = [row["update"] for row in rows]
        trace = line(name, updates, [row["test"] for row in rows], colors[index % len(colors)])
        trace["mode"] = "lines+markers"
        trace["error_y"] = _bars(*_intervals(rows))
        data.append(trace)
    axes = layout(height=300, legend="top", x_title="update")
    axes["yaxis"] |= {"range": [-0.02, 1.02]}
    return Chart(
        id="each_training",
        title="Critiques, each training",
        note="greedy test accuracy of every checkpoint, with 95 % intervals over problems",
        figure={"data": data, "layout": axes},
        wide=True,
    )


def _methods(results: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in results if row["method"] != "base"))


def _points(method: str, results: Sequence[Row]) -> Figure:
    rows = [row for row in results if row["method"] == method and row["selected"]]
    high, mean, low = _intervals(rows)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": NAMES[method],
        "x": [NAMES[method]] * len(rows),
        "y": mean,
        "marker": {"color": COLORS[method], "size": 10},
        "error_y": _bars(high, mean, low),
        "hovertemplate": "%{x}: %{y:.3f}<extra></extra>",
    }


def _intervals(rows: Sequence[Row]) -> tuple[list[float], list[float], list[float]]:
    return (
        [row["test_high"] for row in rows],
        [row["test"] for row in rows],
        [row["test_low"] for row in rows],
    )


def _bars(high: Sequence[float], mean: Sequence[float], low: Sequence[float]) -> Figure:
    return {
        "type": "data",
        "symmetric": False,
        "array": [top - middle for top, middle in zip(high, mean, strict=True)],
        "arrayminus": [middle - bottom for middle, bottom in zip(mean, low, strict=True)],
        "thickness": 1.2,
        "width": 3,
    }
