"""An audit as tables for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rlreason.redact import visible
from rlreason.reward_check.audit import Audit, Example, Tally
from rlreason.reward_check.findings import shortened

_MAX_RANGES = 10
_SHOWN = 80


def to_json(audit: Audit) -> dict[str, Any]:
    """Every step of every pool, the sums, and examples."""
    return {
        "run": audit.run,
        "reward": audit.reward,
        "steps": audit.steps,
        "damaged_steps": list(audit.damaged),
        "overall": audit.total(audit.steps).to_json(),
        "pools": {pool: audit.total(audit.steps, pool).to_json() for pool in audit.pools},
        "rows": [
            {"step": step, "pool": pool} | tally.to_json()
            for (step, pool), tally in audit.tallies.items()
        ],
        "only_run": [asdict(example) for example in audit.only_run],
        "only_second": [asdict(example) for example in audit.only_second],
    }


def render(audit: Audit) -> Group:
    """Shares per pool and per range of steps, and a few completions to look at."""
    steps = audit.steps
    if not steps:
        return Group(Text(f"{audit.run}: every step's journal is damaged"))
    half = len(steps) // 2
    parts: list[Any] = [
        Text(f"{audit.run}, steps {steps[0]} to {steps[-1]}, again with {audit.reward}"),
        Text("run only: refused by the second reward, of what the run rewarded; in both halves"),
        Text("second only: rewarded by the second reward, of what the run refused"),
        _pool_table(audit, steps[:half], steps[half:]),
        _step_table(audit, steps),
    ]
    if audit.damaged:
        parts.append(Text(f"left out, their journal is damaged: steps {list(audit.damaged)}"))
    parts += _examples("rewarded by the run, refused by the second reward", audit.only_run)
    parts += _examples("refused by the run, rewarded by the second reward", audit.only_second)
    return Group(*parts)


def _pool_table(audit: Audit, early: Sequence[int], late: Sequence[int]) -> Table:
    table = Table(title="by pool", title_justify="left")
    table.add_column("pool")
    for title in ("number", "run only", "1st half", "2nd half", "second only", "left out"):
        table.add_column(title, justify="right", no_wrap=True)
    for pool in (*audit.pools, None):
        total = audit.total(audit.steps, pool)
        table.add_row(
            visible(pool) if pool is not None else "all",
            str(_size(total)),
            _share(total.only_run, total.refused_frac),
            _percent(audit.total(early, pool).refused_frac),
            _percent(audit.total(late, pool).refused_frac),
            _share(total.only_second, total.missed_frac),
            str(total.left_out),
        )
    return table


def _step_table(audit: Audit, steps: Sequence[int]) -> Table:
    table = Table(title="by step", title_justify="left")
    for title in ("steps", "number", "run only", "second only"):
        table.add_column(title, justify="right", no_wrap=True)
    width = -(-len(steps) // _MAX_RANGES)
    for start in range(0, len(steps), width):
        members = steps[start : start + width]
        total = audit.total(members)
        table.add_row(
            f"{members[0]} to {members[-1]}" if len(members) > 1 else str(members[0]),
            str(_size(total)),
            _share(total.only_run, total.refused_frac),
            _share(total.only_second, total.missed_frac),
        )
    return table


def _examples(title: str, examples: Sequence[Example]) -> list[Text]:
    if not examples:
        return []
    lines = [
        f"  step {example.step}, {example.problem}, answer {example.answer}: {example.run:g} and "
        f"{example.second:g} for {shortened(example.completion, _SHOWN)}"
        for example in examples
    ]
    return [Text(f"{title}:"), *(Text(visible(line, keep="")) for line in lines)]


def _size(tally: Tally) -> int:
    return tally.both + tally.only_run + tally.only_second + tally.neither + tally.left_out


def _share(count: int, frac: float | None) -> str:
    return "-" if frac is None else f"{count} ({_percent(frac)})"


def _percent(frac: float | None) -> str:
    return "-" if frac is None else f"{100 * frac:.1f} %"
