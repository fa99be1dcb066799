"""Why these pools, and what each of them cost and gave: two tables and two charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlreason.metrics import StepMetrics
from rlreason.pool_metrics import PoolMetrics
from rlreason.report.accuracy import OVERALL
from rlreason.report.accuracy_curves import Spent
from rlreason.report.chart import BLUE, GREY, Chart, Figure, layout, line, ramp
from rlreason.report.pool_series import PoolSeries, drawn_mean, shown_pools
from rlreason.report.tables import Cell, SortableTable, headings, number, words

MAX_AREAS = 16
"""Pools with an area of their own; the others are one."""

LABELLED_CHANGE = 0.05
"""Pools that changed by less lie on each other: their names are said on hover alone."""

Changes = Mapping[str, tuple[float, int]]
"""Pool -> change of greedy accuracy between the first and the last evaluation, and the tokens that
were sampled for it between them."""


def why_table(rows: Sequence[StepMetrics]) -> SortableTable:
    """The newest step's weights with the terms behind them, and what the pools gave lately."""
    newest, recent = rows[-1], rows[-max(10, len(rows) // 10) :]
    names = sorted(shown_pools(newest), key=lambda name: -newest.pools[name].weight)
    terms = list(dict.fromkeys(key for name in names for key in newest.pools[name].curriculum))
    largest = max((newest.pools[name].weight for name in names), default=1.0)
    lately = f"of the last {len(recent)} steps"
    columns = [
        ("pool", "the largest weight first"),
        ("weight", "probability with which the curriculum drew it"),
        *((term, "a term of the curriculum's score") for term in terms),
        ("drawn", f"problems {lately}"),
        ("reward", f"mean {lately}, where drawn"),
        ("all right", f"share of groups {lately} in which every completion had the best reward"),
        ("all wrong", f"share of groups {lately} in which every completion had the lowest reward"),
    ]
    return SortableTable(
        id="why",
        title=f"Why these pools: step {newest.step}",
        note=f"drawn, reward, all right and all wrong are {lately}; click a heading to sort",
        headings=headings(columns),
        rows=tuple(_why(name, newest, recent, terms, largest) for name in names),
    )


def _why(
    name: str,
    newest: StepMetrics,
    recent: Sequence[StepMetrics],
    terms: Sequence[str],
    largest: float,
) -> tuple[Cell, ...]:
    pool, lately = newest.pools[name], [row.pools[name] for row in recent if name in row.pools]
    return (
        words(name),
        number(pool.weight, "{:.3f}", largest=largest),
        *(number(pool.curriculum.get(term)) for term in terms),
        number(sum(item.draws for item in lately), "{:,}"),
        number(drawn_mean(lately, lambda item: item.reward_mean), "{:.2f}"),
        number(drawn_mean(lately, lambda item: item.solved_frac), "{:.0%}"),
        number(drawn_mean(lately, lambda item: item.hopeless_frac), "{:.0%}"),
    )


def accuracy_changes(evaluations: Sequence[Mapping[str, Any]], spent: Spent) -> Changes:
    """What the run changed per pool, and overall under ``OVERALL``; empty before a second look."""
    if len(evaluations) < 2:
        return {}
    first, last = evaluations[0], evaluations[-1]
    ends = first["version"], last["version"]
    changes = {OVERALL: _change(first["overall"], last["overall"], *map(spent.in_all, ends))}
    for name, before in first["pools"].items():
        tokens = [spent.on(name, version) for version in ends]
        if name in last["pools"]:
            changes[name] = _change(before, last["pools"][name], *tokens)
    return {name: change for name, change in changes.items() if change is not None}


def _change(
    before: Mapping[str, Any], after: Mapping[str, Any], start: int | None, end: int | None
) -> tuple[float, int] | None:
    if start is None or end is None:
        return None
    return after["greedy"]["mean"] - before["greedy"]["mean"], end - start


def cost_table(rows: Sequence[StepMetrics], changes: Changes) -> SortableTable:
    """Draws, reuse and tokens of every pool, and the accuracy that came of them."""
    newest, names = rows[-1], shown_pools(rows[-1])
    pools = [newest.pools[name] for name in newest.pools]
    draws, tokens = sum(p.draws_so_far for p in pools), newest.rollout_tokens_so_far
    most = max((newest.pools[name].tokens_so_far for name in names), default=1)
    unit = 1000 ** max(1, round(math.log(max(tokens, 1) / 100, 1000)))
    columns = [
        ("pool", "in the order of the recipe"),
        ("drawn", "problems, over the whole run"),
        ("share", "of all problems drawn"),
        ("covered", "share of its training problems that were drawn at least once"),
        ("reuse", "how often its problems had been drawn before, when last drawn"),
        ("tokens", "completion tokens sampled for it"),
        ("share", "of all completion tokens"),
        ("accuracy", "change of held-out greedy accuracy, first to last evaluation"),
        ("per step", "that change over the number of steps"),
        (f"per {unit:,} tokens", "that change over the tokens that were sampled for the pool"),
    ]
    scale = len(rows), unit
    in_all = (words(OVERALL), number(draws, "{:,}"), number(1.0, "{:.0%}"), number(None),
              number(None), number(tokens, "{:,}"), number(1.0, "{:.0%}"),
              *_gain(changes.get(OVERALL), *scale))  # fmt: skip
    return SortableTable(
        id="costs",
        title="What the pools cost and gave",
        note="pools help each other, so a pool can gain without a token of its own",
        headings=headings(columns),
        top=(in_all,),
        rows=tuple(
            (*_cost(name, rows, draws, tokens, most), *_gain(changes.get(name), *scale))
            for name in names
        ),
    )


def _cost(
    name: str, rows: Sequence[StepMetrics], draws: int, tokens: int, most: int
) -> tuple[Cell, ...]:
    pool = rows[-1].pools[name]
    return (
        words(name),
        number(pool.draws_so_far, "{:,}"),
        number(pool.draws_so_far / max(draws, 1), "{:.1%}"),
        number(pool.distinct_frac, "{:.1%}"),
        number(_last_reuse(name, rows), "{:.2f}"),
        number(pool.tokens_so_far, "{:,}", largest=most),
        number(pool.tokens_so_far / max(tokens, 1), "{:.1%}"),
    )


def _last_reuse(name: str, rows: Sequence[StepMetrics]) -> float | None:
    drawn = (row.pools[name] for row in reversed(rows) if name in row.pools)
    return next((pool.reuse_mean for pool in drawn if pool.reuse_mean is not None), None)


def _gain(change: tuple[float, int] | None, steps: int, unit: int) -> tuple[Cell, Cell, Cell]:
    if change is None:
        return number(None), number(None), number(None)
    value, tokens = change
    return (
        number(value, "{:+.3f}"),
        number(value / steps, "{:+.2g}"),
        number(value / tokens * unit if tokens else None, "{:+.2g}"),
    )


def cost_charts(series: PoolSeries, changes: Changes, newest: StepMetrics) -> list[Chart]:
    """Where the tokens went, and what they bought."""
    charts = [_areas(series, newest)]
    bought = {name: change for name, change in changes.items() if name != OVERALL}
    return [*charts, _bought(series, bought)] if bought else charts


def _areas(series: PoolSeries, newest: StepMetrics) -> Chart:
    order = sorted(range(len(series.names)), key=lambda i: -_tokens(newest.pools[series.names[i]]))
    own = sorted(order[:MAX_AREAS])
    stacks = [
        (series.labels[index], series.tokens_so_far[index], color)
        for index, color in zip(own, ramp(len(own)), strict=True)
    ]
    rest = [series.tokens_so_far[index] for index in order[MAX_AREAS:]]
    if rest:
        sums: list[float | None] = [
            sum(value or 0 for value in column) for column in zip(*rest, strict=True)
        ]
        stacks.append((f"{len(rest)} more", sums, GREY))
    data: list[Figure] = [
        line(name, series.first_steps, values, color)
        | {"stackgroup": "tokens", "line": {"width": 0.5, "color": color}}
        for name, values, color in stacks
    ]
    return Chart(
        id="token_areas",
        title="Where the tokens went",
        note="completion tokens sampled so far, the pools on top of each other",
        figure={"data": data, "layout": layout(height=320, legend="right")},
    )


def _bought(series: PoolSeries, changes: Changes) -> Chart:
    shown = [
        (label, *changes[name])
        for name, label in zip(series.names, series.labels, strict=True)
        if name in changes
    ]
    trace = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [tokens for _, _, tokens in shown],
        "y": [change for _, change, _ in shown],
        "text": [label if abs(change) >= LABELLED_CHANGE else "" for label, change, _ in shown],
        "customdata": [label for label, _, _ in shown],
        "textposition": "top center",
        "textfont": {"size": 10.5},
        "cliponaxis": False,
        "marker": {"size": 9, "color": BLUE, "opacity": 0.75},
        "hovertemplate": "<b>%{customdata}</b><br>%{x:,} tokens, accuracy %{y:+.3f}<extra></extra>",
    }
    axes = layout(height=320, x_title="tokens sampled for the pool")
    axes["hovermode"] = "closest"
    axes["margin"]["t"] = 22
    axes["yaxis"] |= {"zeroline": True, "zerolinecolor": GREY, "tickformat": "+.2~f"}
    return Chart(
        id="bought",
        title="What the tokens bought",
        note="change of a pool's held-out accuracy against the tokens sampled for it",
        figure={"data": [trace], "layout": axes},
    )


def _tokens(pool: PoolMetrics) -> int:
    return pool.tokens_so_far
