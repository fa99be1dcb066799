"""The page and the Markdown table of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlreason.atomic import replace_file
from rlreason.progress import duration
from rlreason.report.chart import Chart
from rlreason.report.html_page import render_page, write_page
from rlreason.report.sweep_figures import curve_charts, difference_chart, pool_chart
from rlreason.sweep.analysis import Analysis
from rlreason.sweep.outcome import Outcome
from rlreason.sweep.plan import TRIALS
from rlreason.sweep.table import (
    COMPARISON_HEADER,
    arm_header,
    arm_row,
    comparison_row,
    conclusions,
    how_measured,
    markdown,
    unfinished,
)

REPORT_FILE = "report.html"
TABLE_FILE = "table.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One trial's line on the page."""

    name: str
    seed: int
    phase: str
    steps: str
    failures: int
    time: str
    link: str
    """The run's own page, beside this one; empty before it is written."""


def write_sweep_report(outcome: Outcome) -> Path:
    """Write ``table.md`` and ``report.html`` into the sweep folder; returns the page."""
    folder = outcome.plan.folder
    replace_file(folder / TABLE_FILE, sweep_table(outcome))
    target = folder / REPORT_FILE
    write_page(target, render(outcome))
    return target


def sweep_table(outcome: Outcome) -> str:
    """The sweep in Markdown."""
    return markdown(outcome.plan, outcome.analysis, outcome.states)


def render(outcome: Outcome) -> str:
    """The page as text."""
    plan, analysis = outcome.plan, outcome.analysis
    return render_page(
        "sweep.html",
        {
            "plan": plan,
            "finished": sum(state.phase == "finished" for state in outcome.states),
            "lacking": unfinished(outcome.states),
            "plan_changes": outcome.plan_changes,
            "how": how_measured(plan, analysis),
            "conclusions": conclusions(analysis),
            "charts": _charts(outcome),
            "arm_header": arm_header(plan),
            "arm_rows": [arm_row(arm, analysis) for arm in analysis.arms],
            "comparison_header": COMPARISON_HEADER,
            "comparison_rows": [comparison_row(item) for item in analysis.comparisons],
            "pool_header": ["pool", *(item.arm for item in analysis.comparisons)],
            "pool_rows": _pool_rows(analysis),
            "differences": plan.differences(),
            "trials": _trial_rows(outcome),
        },
    )


def _charts(outcome: Outcome) -> list[Chart]:
    analysis = outcome.analysis
    if not analysis.arms:
        return []
    threshold = outcome.plan.config.metrics.threshold
    compared = [difference_chart(analysis)] if analysis.comparisons else []
    return [
        *compared,
        *curve_charts(outcome.results, analysis, threshold),
        pool_chart(analysis),
    ]


def _pool_rows(analysis: Analysis) -> list[list[str]]:
    """Per pool, every arm's difference to the baseline."""
    if not analysis.comparisons:
        return []
    pools = analysis.comparisons[0].by_pool
    return [
        [pool, *(str(comparison.by_pool[pool]) for comparison in analysis.comparisons)]
        for pool in pools
    ]


def _trial_rows(outcome: Outcome) -> Sequence[TrialRow]:
    rows = []
    for state in outcome.states:
        name = state.trial.name
        page = outcome.plan.run_folder(state.trial) / REPORT_FILE
        rows.append(
            TrialRow(
                name=name,
                seed=state.trial.seed,
                phase=state.phase,
                steps=f"{state.steps} of {state.trial.config.run.steps}",
                failures=state.failures,
                time=duration(state.seconds) if state.seconds else "-",
                link=f"{TRIALS}/{name}/{REPORT_FILE}" if page.is_file() else "",
            )
        )
    return rows
