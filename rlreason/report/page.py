"""Puts the report together: one HTML file that loads nothing and runs only its own two scripts.

Text by the model reaches the page through jinja's escaping. Should that ever fail, the page's
content security policy names the hashes of its scripts, so no other script can run, and forbids
every connection.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rlreason import __version__
from rlreason.metrics import WORK_PHASES, StepMetrics
from rlreason.progress import duration
from rlreason.report.accuracy import accuracy_chart, accuracy_over_versions, accuracy_rows
from rlreason.report.chart import Chart
from rlreason.report.completions import facts, journaled_steps, read_extremes
from rlreason.report.figures import curve_charts, phase_chart, thin, weight_charts
from rlreason.report.run_data import RunData, read_run

REPORT_FILE = "report.html"

_DRAW_SCRIPT = """
"use strict";
const options = {responsive: true, displayModeBar: false};
for (const block of document.querySelectorAll("script[data-plot]")) {
  const figure = JSON.parse(block.textContent);
  Plotly.newPlot(block.dataset.plot, figure.data, figure.layout, options);
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number at the top of the page."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRow:
    """One phase's line in the table of times."""

    name: str
    total: str
    per_step: str
    share: str


def write_report(run_folder: Path, step: int | None = None) -> Path:
    """Write ``report.html`` into the run folder.

    Args:
        run_folder: A run, finished or not.
        step: Whose completions to show; the last journaled step if None.

    Raises:
        DataError: If this is no run folder, or its journal does not hold ``step``.
    """
    page = render(run_folder, step)
    target = run_folder / REPORT_FILE
    temporary = target.with_name(REPORT_FILE + ".tmp")
    # newline="": the hashes in the policy hold for exactly these characters.
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(page)
    os.replace(temporary, target)
    return target


def render(run_folder: Path, step: int | None = None) -> str:
    """The page as text."""
    run = read_run(run_folder)
    rows = thin(run.rows)
    scripts = [get_plotlyjs().replace("\r\n", "\n"), _DRAW_SCRIPT]
    environment = Environment(
        loader=PackageLoader("rlreason", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"plot_json": _plot_json, "facts": facts}
    return environment.get_template("report.html").render(
        run=run,
        version=__version__,
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],
        tiles=_tiles(run),
        stride=-(-len(run.rows) // max(len(rows), 1)),
        accuracy=accuracy_rows(run.evaluations) if run.evaluations else [],
        accuracy_charts=_accuracy_charts(run),
        curves=curve_charts(rows) if rows else [],
        weights=weight_charts(rows) if rows else [],
        phases=phase_chart(rows) if rows else None,
        phase_rows=_phase_rows(run.rows),
        extremes=read_extremes(run_folder, step),
        journaled=journaled_steps(run_folder),
    )


def _policy(scripts: Sequence[str]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    # Plotly styles its charts inline; data: and blob: are its own pictures.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _plot_json(chart: Chart) -> Markup:
    """The figure as JSON that cannot end the script element it stands in."""
    text = json.dumps(chart.figure, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _accuracy_charts(run: RunData) -> list[Chart]:
    charts = [accuracy_chart(run.evaluations)] if run.evaluations else []
    return charts + ([accuracy_over_versions(run.evaluations)] if len(run.evaluations) > 2 else [])


def _tiles(run: RunData) -> list[Tile]:
    tiles = [*_accuracy_tiles(run), *_course_tiles(run)]
    note = "see below" if run.alarms else "nothing looked wrong"
    return [*tiles, Tile(label="alarms", value=str(len(run.alarms)), note=note)]


def _accuracy_tiles(run: RunData) -> list[Tile]:
    if not run.evaluations:
        return []
    first, last = run.evaluations[0], run.evaluations[-1]
    before, after = (row["overall"]["greedy"]["mean"] for row in (first, last))
    problems = last["overall"]["num_problems"]
    value = f"{before:.2f} → {after:.2f}" if last is not first else f"{before:.2f}"
    note = f"greedy, {problems} problems in {len(last['pools'])} pools, version {last['version']}"
    return [Tile(label="held-out accuracy", value=value, note=note)]


def _course_tiles(run: RunData) -> list[Tile]:
    rows = run.rows
    if not rows:
        return []
    planned = run.config.get("run", {}).get("steps")
    step_s = sum(row.step_s for row in rows)
    rollouts = sum(row.num_rollouts for row in rows)
    tokens = sum(row.rollout_tokens for row in rows)
    replayed = sum(row.replayed for row in rows)
    overhead = [row.overhead_frac for row in rows if row.overhead_frac is not None]
    return [
        Tile(
            label="steps",
            value=f"{len(rows)} of {planned}" if planned else str(len(rows)),
            note=f"{replayed} replayed after a resume" if replayed else "in one go",
        ),
        Tile(
            label="time in steps",
            value=duration(step_s),
            note=f"{step_s / len(rows):.2f} s a step, {_mean(overhead):.1%} overhead of the loop",
        ),
        Tile(label="completions", value=f"{rollouts:,}", note=f"{tokens:,} tokens sampled"),
    ]


def _phase_rows(rows: Sequence[StepMetrics]) -> list[PhaseRow]:
    totals: dict[str, float] = {}
    for row in rows:
        for name, seconds in row.phase_s.items():
            totals[name] = totals.get(name, 0.0) + seconds
    total = sum(totals.values()) or 1.0
    return [
        PhaseRow(
            name=name if name in WORK_PHASES else f"{name} (overhead)",
            total=f"{seconds:.2f} s",
            per_step=f"{1000 * seconds / len(rows):.1f} ms",
            share=f"{seconds / total:.1%}",
        )
        for name, seconds in sorted(totals.items(), key=lambda item: -item[1])
    ]


def _mean(values: Sequence[Any]) -> float:
    return sum(values) / len(values) if values else 0.0
