"""A run whose sampling ran beside the learner shows what that hid, and which gap means what."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go
import pytest
from synthetic_run import step_metrics

from rlreason.loop_metrics import AheadMetrics
from rlreason.metrics import StepMetrics
from rlreason.progress import step_line
from rlreason.report.figures import curve_charts, phase_chart
from rlreason.report.run_data import RunData
from rlreason.report.tiles import tiles


def lagged(step: int) -> StepMetrics:
    """0.4 s of sampling, of which 0.1 s were learning time and 0.3 s waited for."""
    ahead = AheadMetrics(
        policy_lag=1, sampler_gap=2e-7, phase_s={"rollout": 0.375, "score": 0.025}, hidden_s=0.1
    )
    phase_s = {"learn": 0.1, "wait": 0.3}
    return replace(step_metrics(step, 4), mismatch_abs=3e-3, phase_s=phase_s, ahead=ahead)


ROWS = [lagged(step) for step in range(4)]
PLAIN = [step_metrics(step, 4) for step in range(4)]


def series(chart_id: str, rows: list[StepMetrics]) -> dict[str, list[float | None]]:
    charts = [*curve_charts(rows), phase_chart(rows)]
    [chart] = [chart for chart in charts if chart.id == chart_id]
    go.Figure(chart.figure)  # refuses what plotly does not know
    return {curve["name"]: curve["y"] for curve in chart.figure["data"]}


def test_what_ran_beside_hangs_below_the_axis() -> None:
    bars = series("phases", ROWS)
    assert bars["learn"] == [0.1] * 4
    assert bars["rollout, beside"] == [-0.375] * 4
    assert not any("beside" in name for name in series("phases", PLAIN))


def test_the_gap_on_equal_weights_is_told_from_the_policys_move() -> None:
    gaps = series("mismatch", ROWS)
    assert gaps["equal weights"] == [2e-7] * 4
    assert gaps["one version behind"] == [3e-3] * 4
    assert list(series("mismatch", PLAIN)) == ["mismatch"]


def test_the_share_that_was_hidden_stands_at_the_top_and_in_each_line() -> None:
    def shown(rows: list[StepMetrics]) -> dict[str, str]:
        run = RunData(
            name="r",
            config={},
            settings=(),
            machine={},
            rows=tuple(rows),
            evaluations=(),
            alarms=(),
        )
        return {tile.label: tile.value for tile in tiles(run)}

    assert shown(ROWS)["sampling hidden"] == "25%"  # .1 of .4
    assert "sampling hidden" not in shown(PLAIN)
    assert "hidden .10 s" in step_line(ROWS[1], 4, None)
    assert "hidden" not in step_line(PLAIN[1], 4, None)
    assert ROWS[1].ahead is not None
    assert sum(ROWS[1].ahead.phase_s.values()) == pytest.approx(0.4)
