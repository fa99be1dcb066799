"""Memory plans as tables."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from rlreason.memory.plan import GIB, Column, MemoryPlan


def memory_table(plan: MemoryPlan) -> Table:
    """Parts of each kind of GPU in GiB, their sum, and what is left."""
    return columns_table(
        plan.columns, plan.gpu_bytes, what="memory plan", where="per GPU", caption=_caption(plan)
    )


def columns_table(
    columns: Sequence[Column], limit: int | None, *, what: str, where: str, caption: str
) -> Table:
    """Parts in GiB, their sum and, where the limit is known, what is left of it."""
    of = f" of {limit / GIB:.1f}" if limit is not None else ""
    table = Table(
        title=f"{what}, GiB{of} {where}".rstrip(),
        title_justify="left",
        caption=caption,
        caption_justify="left",
    )
    table.add_column("")
    for column in columns:
        table.add_column(column.title, justify="right")
    names = list(dict.fromkeys(name for column in columns for name in column.parts))
    for name in names:
        sizes = [column.parts.get(name, 0) for column in columns]
        table.add_row(name, *(f"{size / GIB:.2f}" if size else "" for size in sizes))
    table.add_section()
    table.add_row("all", *(f"{column.total / GIB:.2f}" for column in columns))
    if limit is not None:
        left = [(limit - column.total) / GIB for column in columns]
        table.add_row("left", *(f"{gib:.2f}" for gib in left))
    return table


def as_text(*tables: Table) -> str:
    """Tables as text, for the log."""
    file = io.StringIO()
    console = Console(file=file, width=100)
    for table in tables:
        console.print(table)
    return file.getvalue().rstrip()


def _caption(plan: MemoryPlan) -> str:
    held = min(plan.sequences, plan.wanted_sequences)
    lines = [
        f"The KV cache holds {held:.0f} completions of full length; the engine decodes up to "
        f"{plan.wanted_sequences} at once."
    ]
    if plan.engine.sleeps:
        lines.append(
            "Engine and learner do not fit together: the engine sleeps (vLLM's level 1) while the "
            "learner works."
        )
    return " ".join(lines)
