"""What each pool did over the run, in so few columns that the page stays small.

A column is one step of a short run and the sum or mean of several steps of a long one.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rlreason.metrics import StepMetrics
from rlreason.pool_metrics import PoolMetrics
from rlreason.redact import visible

MAX_POOLS = 200
"""Of more pools, those are shown that have been given most tokens."""

MAX_COLUMNS = 300
MAX_CELLS = 16_000
"""Pools times columns: bounds the size of the page."""

_MAX_LABEL = 48

Value = float | None
Grid = list[list[Value]]
"""[pools][columns]; None where nothing was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSeries:
    """Every shown pool's numbers per column."""

    names: tuple[str, ...]
    """In the order of the recipe."""
    labels: tuple[str, ...]
    """The names as charts may show them."""
    first_steps: tuple[int, ...]
    """First step of each column."""
    stride: int
    """Steps per column; the last column may have fewer."""
    weight: Grid
    """Mean over the steps."""
    draws: Grid
    """Sum over the steps."""
    tokens: Grid
    """Sum over the steps."""
    tokens_so_far: Grid
    """At the end of the column."""
    reward: Grid
    """Mean over the problems drawn; so are the next three."""
    solved: Grid
    hopeless: Grid
    reuse: Grid
    terms: dict[str, Grid]
    """Term of the curriculum's score -> its mean over the steps."""


def pool_series(rows: Sequence[StepMetrics]) -> PoolSeries:
    """Condense all steps of a run; there must be one at least."""
    names = shown_pools(rows[-1])
    columns = max(40, min(MAX_COLUMNS, MAX_CELLS // len(names)))
    stride = -(-len(rows) // columns)
    parts = [rows[start : start + stride] for start in range(0, len(rows), stride)]
    cells = [[_of_pool(part, name) for part in parts] for name in names]
    terms = dict.fromkeys(key for pool in rows[-1].pools.values() for key in pool.curriculum)
    return PoolSeries(
        names=tuple(names),
        labels=tuple(labels(names)),
        first_steps=tuple(part[0].step for part in parts),
        stride=stride,
        weight=_grid(cells, lambda pools: _mean(pool.weight for pool in pools)),
        draws=_grid(cells, lambda pools: sum(pool.draws for pool in pools)),
        tokens=_grid(cells, lambda pools: sum(pool.tokens for pool in pools)),
        tokens_so_far=_grid(cells, lambda pools: max((p.tokens_so_far for p in pools), default=0)),
        reward=_grid(cells, lambda pools: drawn_mean(pools, lambda pool: pool.reward_mean)),
        solved=_grid(cells, lambda pools: drawn_mean(pools, lambda pool: pool.solved_frac)),
        hopeless=_grid(cells, lambda pools: drawn_mean(pools, lambda pool: pool.hopeless_frac)),
        reuse=_grid(cells, lambda pools: drawn_mean(pools, lambda pool: pool.reuse_mean)),
        terms={key: _grid(cells, _term(key)) for key in terms},
    )


def shown_pools(row: StepMetrics) -> list[str]:
    """The pools that a page shows, in the order of the recipe."""
    most = sorted(row.pools, key=lambda name: -row.pools[name].tokens_so_far)[:MAX_POOLS]
    kept = set(most)
    return [name for name in row.pools if name in kept]


def labels(names: Sequence[str]) -> list[str]:
    """Pool names as plotly may show them: short, all different, and no markup."""
    short: list[str] = []
    for index, name in enumerate(names):
        safe = visible(name, keep="")
        cut = safe if len(safe) <= _MAX_LABEL else f"{safe[:_MAX_LABEL]}…{index}"
        # Plotly reads <b>, <a> and entities in every text that it draws.
        short.append(html.escape(cut, quote=False))
    return short


def drawn_mean(
    pools: Iterable[PoolMetrics], pick: Callable[[PoolMetrics], float | None]
) -> float | None:
    """Mean of ``pick`` over the problems drawn; None if none was."""
    known = [(pick(pool), pool.draws) for pool in pools]
    pairs = [(value, draws) for value, draws in known if value is not None]
    total = sum(draws for _, draws in pairs)
    return _rounded(sum(value * draws for value, draws in pairs) / total) if total else None


def _of_pool(part: Sequence[StepMetrics], name: str) -> list[PoolMetrics]:
    return [row.pools[name] for row in part if name in row.pools]


def _grid(
    cells: Sequence[Sequence[Sequence[PoolMetrics]]],
    condense: Callable[[Sequence[PoolMetrics]], Value],
) -> Grid:
    return [[condense(pools) for pools in columns] for columns in cells]


def _term(key: str) -> Callable[[Sequence[PoolMetrics]], Value]:
    return lambda pools: _mean(pool.curriculum.get(key) for pool in pools)


def _mean(values: Iterable[Value]) -> Value:
    known = [value for value in values if value is not None]
    return _rounded(sum(known) / len(known)) if known else None


def _rounded(value: float) -> float:
    """Four digits: nobody sees more, and the page holds thousands of them."""
    return float(f"{value:.4g}")
