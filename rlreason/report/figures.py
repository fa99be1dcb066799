"""The charts of a run's course: curves over steps, and phase times."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from rlreason.metrics import StepMetrics
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
    layout,
    line,
)

MAX_POINTS = 1000
"""A longer run shows every n-th step."""

_PHASE_COLORS = {
    "draw": GREY,
    "rollout": BLUE,
    "score": ORANGE,
    "journal": PURPLE,
    "learn": GREEN,
    "wait": "#9db4d6",
    "publish": SKY,
    "record": "#b8860b",
    "checkpoint": "#5b5f97",
    "evaluate": RED,
}

Pick = Callable[[StepMetrics], float | None]


def thin(rows: Sequence[StepMetrics]) -> Sequence[StepMetrics]:
    """At most ``MAX_POINTS`` rows, evenly spaced, the last one among them."""
    stride = -(-len(rows) // MAX_POINTS) or 1
    return rows[::-1][::stride][::-1]


def curve_charts(rows: Sequence[StepMetrics]) -> list[Chart]:
    """Reward, signal, lengths, faults, entropy, mismatch and gradient norm over steps."""
    return [_reward(rows), *_sample_charts(rows), _faults(rows), *_learner_charts(rows)]


def _sample_charts(rows: Sequence[StepMetrics]) -> list[Chart]:
    return [
        _lines(
            rows,
            "signal",
            "Signal",
            "share of groups that teach something; the others are all right or all wrong",
            {
                "with signal": (BLUE, lambda m: m.signal_frac),
                "all right": (GREEN, lambda m: m.solved_frac),
                "all wrong": (RED, lambda m: m.hopeless_frac),
            },
            unit=True,
        ),
        _lines(
            rows,
            "lengths",
            "Completion length",
            "tokens per completion",
            {
                "mean": (BLUE, lambda m: m.completion_tokens_mean),
                "longest": (GREY, lambda m: m.completion_tokens_max),
            },
        ),
    ]


def _learner_charts(rows: Sequence[StepMetrics]) -> list[Chart]:
    return [
        _lines(
            rows,
            "entropy",
            "Entropy",
            "nats per token; a fall to nothing ends exploration",
            {"entropy": (PURPLE, lambda m: m.entropy)},
        ),
        _mismatch(rows),
        _lines(
            rows,
            "grad_norm",
            "Gradient norm",
            "before clipping",
            {"gradient norm": (GREEN, lambda m: m.grad_norm)},
        ),
        _lines(
            rows,
            "draw_entropy",
            "Variety of the draw",
            "entropy of the curriculum's weights, nats; highest when all pools weigh the same",
            {"entropy of the weights": (SKY, lambda m: m.draw_entropy)},
        ),
        _lines(
            rows,
            "speed",
            "Speed",
            "tokens per second while the engine samples and while the learner learns",
            {
                "rollout": (BLUE, lambda m: m.rollout_tokens_per_s),
                "learner": (GREEN, lambda m: m.learner_tokens_per_s),
            },
        ),
    ]


def _mismatch(rows: Sequence[StepMetrics]) -> Chart:
    note = "mean gap of logprobs on the same tokens, nats; a jump means stale weights"
    series: dict[str, tuple[str, Pick]] = {"mismatch": (RED, lambda m: m.mismatch_abs)}
    if any(row.ahead for row in rows):
        note = (
            "mean gap of logprobs on the same tokens, nats: on equal weights, where a jump means "
            "stale ones, and on the step's tokens, whose sampler is one version behind"
        )
        series = {
            "equal weights": (RED, lambda m: m.ahead.sampler_gap if m.ahead else None),
            "one version behind": (GREY, lambda m: m.mismatch_abs),
        }
    return _lines(rows, "mismatch", "Engine against learner", note, series, log=True)


def phase_chart(rows: Sequence[StepMetrics]) -> Chart:
    """Seconds per phase and step, stacked; below the axis what ran beside them."""
    bars = _phase_bars(rows, lambda row: row.phase_s)
    note = "seconds per phase of each step"
    beside = _phase_bars(rows, _beside, sign=-1)
    if beside:
        bars += beside
        note += "; below the axis the next step's sampling, which ran beside it"
    stacked = layout(height=280, legend="right") | {"barmode": "relative", "bargap": 0.05}
    stacked["yaxis"]["title"] = {"text": "seconds"}
    return Chart(
        id="phases",
        title="Where the time goes",
        note=note,
        figure={"data": bars, "layout": stacked},
        wide=True,
    )


def _beside(row: StepMetrics) -> Mapping[str, float]:
    return {} if row.ahead is None else row.ahead.phase_s


def _phase_bars(
    rows: Sequence[StepMetrics], pick: Callable[[StepMetrics], Mapping[str, float]], sign: int = 1
) -> list[Figure]:
    """One series per phase; ``sign`` -1 hangs it below the axis."""
    names = dict.fromkeys(name for row in rows for name in pick(row))
    return [
        {
            "type": "bar",
            "name": name if sign > 0 else f"{name}, beside",
            "x": [row.step for row in rows],
            "y": [sign * pick(row).get(name, 0.0) for row in rows],
            "customdata": [pick(row).get(name, 0.0) for row in rows],
            "marker": {"color": _PHASE_COLORS.get(name, GREY), "line": {"width": 0}},
            "hovertemplate": "%{customdata:.3f} s",
        }
        for name in names
    ]


def _reward(rows: Sequence[StepMetrics]) -> Chart:
    steps, values = [row.step for row in rows], [row.reward_mean for row in rows]
    window = max(1, len(rows) // 20)
    data = [
        line("reward", steps, values, BLUE, faint=True),
        line(f"mean of {window} steps", steps, _trailing_mean(values, window), BLUE),
    ]
    return Chart(
        id="reward",
        title="Reward",
        note="mean over the step's completions; it moves with what is drawn, accuracy does not",
        figure={"data": data if window > 1 else data[1:], "layout": layout(legend="top")},
    )


def _faults(rows: Sequence[StepMetrics]) -> Chart:
    outcomes = {
        "unparseable": PURPLE, "over_limit": SKY, "timeout": GREEN, "crash": RED, "infra": GREY,
    }  # fmt: skip
    seen = {
        name: (color, _outcome(name))
        for name, color in outcomes.items()
        if any(row.outcome_fracs.get(name) for row in rows)
    }
    return _lines(
        rows,
        "faults",
        "Cut or unscored completions",
        "share cut at the token limit, and of each scoring outcome but ok",
        {"cut": (ORANGE, lambda m: m.truncated_frac)} | seen,
        unit=True,
    )


def _outcome(name: str) -> Pick:
    return lambda metrics: metrics.outcome_fracs.get(name)


def _lines(
    rows: Sequence[StepMetrics],
    chart_id: str,
    title: str,
    note: str,
    series: Mapping[str, tuple[str, Pick]],
    *,
    unit: bool = False,
    log: bool = False,
) -> Chart:
    steps = [row.step for row in rows]
    data = [
        line(name, steps, [pick(row) for row in rows], color)
        for name, (color, pick) in series.items()
    ]
    axes = layout(legend="top" if len(series) > 1 else "none")
    if unit:
        axes["yaxis"] |= {"range": [-0.02, 1.02]}
    elif log:
        axes["yaxis"] |= {
            "type": "log",
            "exponentformat": "power",
            "dtick": 1,
            "range": _decades(data),
        }
    else:
        axes["yaxis"] |= {"rangemode": "tozero"}
    return Chart(id=chart_id, title=title, note=note, figure={"data": data, "layout": axes})


def _decades(curves: Sequence[Figure]) -> list[float]:
    """A log axis's range in whole decades, so that it has labels whatever the data."""
    logs = [math.log10(value) for curve in curves for value in curve["y"] if value]
    low, high = math.floor(min(logs, default=0)), math.ceil(max(logs, default=0))
    return [low - 0.05, max(high, low + 1) + 0.05]


def _trailing_mean(values: Sequence[float | None], window: int) -> list[float | None]:
    means: list[float | None] = []
    for end in range(1, len(values) + 1):
        known = [value for value in values[max(0, end - window) : end] if value is not None]
        means.append(statistics.fmean(known) if known else None)
    return means
