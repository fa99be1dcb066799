"""The page about a critique fine-tuning run, finished or under way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlreason.critique.prompts import problem_text
from rlreason.critique.records import CritiqueExample
from rlreason.report.cft_data import CftData, read_cft, verdict_sentences
from rlreason.report.cft_figures import charts
from rlreason.report.cft_tables import (
    FUNNEL_HEADER,
    RESULT_HEADER,
    funnel_lines,
    pool_lines,
    result_lines,
    stage_lines,
)
from rlreason.report.html_page import render_page, write_page

SHOWN = 3
"""Examples of each kind."""


def write_cft_report(folder: Path) -> Path:
    """Write ``report.html`` into the run folder.

    Raises:
        DataError: If this is no run of critique fine-tuning.
    """
    target = folder / "report.html"
    write_page(target, render(read_cft(folder)))
    return target


def render(data: CftData) -> str:
    """The page as text."""
    results = data.results
    return render_page(
        "cft.html",
        {
            "data": data,
            "sentences": verdict_sentences(results),
            "charts": charts(results),
            "result_header": RESULT_HEADER,
            "result_lines": result_lines(results) if results else [],
            "pools": pool_lines(results) if results else ([], []),
            "stage_lines": stage_lines(data),
            "funnel_header": FUNNEL_HEADER,
            "funnel_lines": funnel_lines(data.funnel),
            "kinds": _kinds(data.examples),
            "problem_text": problem_text,
        },
    )


def _kinds(examples: Sequence[CritiqueExample]) -> list[tuple[str, list[CritiqueExample]]]:
    """Heading -> critiques to show under it."""
    kept = [example for example in examples if example.dropped is None]
    wrong = ("wrong_verdict", "wrong_correction", "no_verdict", "truncated")
    kinds = {
        "Kept: of a right solution": [e for e in kept if e.candidate_correct],
        "Kept: of a wrong solution": [e for e in kept if not e.candidate_correct],
        "Dropped: not true, or not readable": [e for e in examples if e.dropped in wrong],
    }
    return [(heading, rows[:SHOWN]) for heading, rows in kinds.items() if rows]
