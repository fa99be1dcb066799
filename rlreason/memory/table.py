"""The memory plan as a table."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from rlreason.memory.plan import GIB, MemoryPlan


def memory_table(plan: MemoryPlan) -> Table:
    """Parts of each kind of GPU in GiB, their sum, and what is left."""
    table = Table(
        title=f"memory plan, GiB of {plan.gpu_bytes / GIB:.1f} per GPU",
        title_justify="left",
        caption=_caption(plan),
        caption_justify="left",
    )
    table.add_column("")
    for column in plan.columns:
        table.add_column(column.title, justify="right")
    names = list(dict.fromkeys(name for column in plan.columns for name in column.parts))
    for name in names:
        sizes = [column.parts.get(name, 0) for column in plan.columns]
        table.add_row(name, *(f"{size / GIB:.2f}" if size else "" for size in sizes))
    table.add_section()
    table.add_row("all", *(f"{column.total / GIB:.2f}" for column in plan.columns))
    left = [(plan.gpu_bytes - column.total) / GIB for column in plan.columns]
    table.add_row("left", *(f"{gib:.2f}" for gib in left))
    return table


def memory_text(plan: MemoryPlan) -> str:
    """The table as text, for the log."""
    file = io.StringIO()
    Console(file=file, width=100).print(memory_table(plan))
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
