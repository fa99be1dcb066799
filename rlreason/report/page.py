"""The page of a run: which charts and tables it has, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlreason.report.accuracy import accuracy_chart, accuracy_rows
from rlreason.report.accuracy_curves import (
    MAX_PANELS,
    Spent,
    accuracy_map,
    overall_curves,
    pool_curves,
)
from rlreason.report.chart import Chart
from rlreason.report.completions import facts, journaled_steps, read_extremes
from rlreason.report.figures import curve_charts, phase_chart, thin
from rlreason.report.html_page import render_page, write_page
from rlreason.report.pool_costs import accuracy_changes, cost_charts, cost_table, why_table
from rlreason.report.pool_maps import pool_map, weight_lines
from rlreason.report.pool_series import pool_series
from rlreason.report.run_data import RunData, read_run
from rlreason.report.tiles import phase_rows, tiles

REPORT_FILE = "report.html"


def write_report(run_folder: Path, step: int | None = None) -> Path:
    """Write ``report.html`` into the run folder.

    Args:
        run_folder: A run, finished or not.
        step: Whose completions to show; the last journaled step if None.

    Raises:
        DataError: If this is no run folder, or its journal does not hold ``step``.
    """
    target = run_folder / REPORT_FILE
    shown = {
        "extremes": read_extremes(run_folder, step),
        "journaled": journaled_steps(run_folder),
    }
    write_page(target, render(read_run(run_folder), shown))
    return target


def render(run: RunData, completions: dict[str, Any]) -> str:
    """The page as text; ``completions`` is what the template shows of the journal."""
    rows = thin(run.rows)
    values = {
        "run": run,
        "facts": facts,
        "tiles": tiles(run),
        "stride": -(-len(run.rows) // max(len(rows), 1)),
        "curves": curve_charts(rows) if rows else [],
        "phases": phase_chart(rows) if rows else None,
        "phase_rows": phase_rows(run.rows),
    }
    return render_page("report.html", values | _accuracy(run) | _pools(run) | completions)


def _accuracy(run: RunData) -> dict[str, Any]:
    """Before and after; with three evaluations or more, the course between them too."""
    evaluations = run.evaluations
    charts: list[Chart] = []
    overall: list[Chart] = []
    if len(evaluations) > 2:
        spent = Spent(run.rows)
        overall = overall_curves(evaluations, spent)
        charts = [pool_curves(evaluations, spent)]
        if len(evaluations[-1]["pools"]) > MAX_PANELS:
            charts.append(accuracy_map(evaluations))
    if evaluations:
        charts.append(accuracy_chart(evaluations))
    return {
        "accuracy": accuracy_rows(evaluations) if evaluations else [],
        "overall_charts": overall,
        "accuracy_charts": charts,
    }


def _pools(run: RunData) -> dict[str, Any]:
    """The charts and tables of the curriculum and its pools."""
    if not run.rows:
        return {"pool_charts": [], "cost_charts": [], "why": None, "costs": None}
    series = pool_series(run.rows)
    changes = accuracy_changes(run.evaluations, Spent(run.rows))
    return {
        "pool_charts": [pool_map(series), weight_lines(series)],
        "why": why_table(run.rows),
        "costs": cost_table(run.rows, changes),
        "cost_charts": cost_charts(series, changes, run.rows[-1]),
    }
