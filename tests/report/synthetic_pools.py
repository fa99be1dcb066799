"""A run of any size, as the report reads it: weights that wander over the pools, no files."""

import math
from dataclasses import replace

from synthetic_run import evaluation, step_metrics

from rlreason.pool_metrics import PoolMetrics
from rlreason.report.run_data import RunData

KINDS = 50
"""So many different steps there are; a longer run repeats them, to be made in no time."""


def run_of(pools: int, steps: int, *, evaluations: int = 11) -> RunData:
    names = [f"pool_{index:03d}" for index in range(pools)]
    kinds = [_pools(names, kind / KINDS) for kind in range(KINDS)]
    rows = [
        replace(step_metrics(step, steps), pools=kinds[step * KINDS // steps])
        for step in range(steps)
    ]
    versions = [round(index * steps / (evaluations - 1)) for index in range(evaluations)]
    return RunData(
        name="wide",
        config={"kind": "grpo", "pools": [{"name": name, "source": "s"} for name in names]},
        settings=(),
        machine={},
        rows=tuple(rows),
        evaluations=tuple(_renamed(evaluation(version, steps), names) for version in versions),
        alarms=(),
    )


def _pools(names: list[str], t: float) -> dict[str, PoolMetrics]:
    raw = [math.exp(-(((i / len(names)) - t) ** 2) * 30) for i in range(len(names))]
    return {
        name: PoolMetrics(
            weight=value / sum(raw), draws=round(value * 2), tokens=round(1000 * value),
            reward_mean=t if round(value * 2) else None, solved_frac=t, hopeless_frac=1 - t,
            reuse_mean=0.5, distinct_frac=t, draws_so_far=100, tokens_so_far=round(1e6 * t * value),
            curriculum={"learnability": value / 3, "bonus": 0.1234567 * value, "seen": 1e4 * t},
        )
        for name, value in zip(names, raw, strict=True)
    }  # fmt: skip


def _renamed(row: dict, names: list[str]) -> dict:
    known = list(row["pools"].values())
    pools = {name: known[index * len(known) // len(names)] for index, name in enumerate(names)}
    return row | {"pools": pools}
