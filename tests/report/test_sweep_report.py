"""The page and the table of a sweep: all there, escaped, and by name from the command line."""

import json
import re
import shutil
from pathlib import Path

import plotly.graph_objects as go
import pytest
from browser import open_in_browser
from small_sweep import SWEEP, run_here, small_plan
from typer.testing import CliRunner

from rlreason.cli import app

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"

MARKS = """
[...document.querySelectorAll("script[data-plot]")].map(block =>
  document.getElementById(block.dataset.plot)
    .querySelectorAll(".scatterlayer .point, .js-line, .js-fill, .heatmaplayer image").length)
"""


@pytest.fixture(scope="module")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds, and a third arm whose label is an attack."""
    folder = tmp_path_factory.mktemp("swept")
    sweep = SWEEP.replace(
        "axes:\n", f'axes:\n  prompt.system: ["plain", {json.dumps(HOSTILE)}]\n'
    ).replace("{curriculum: uniform}\n", '{curriculum: uniform, prompt.system: "plain"}\n')
    plan = small_plan(folder, "seeds=[0,1,2]", sweep=sweep)
    run_here(plan, folder / "gates")
    return plan.folder


@pytest.fixture(scope="module")
def shown(sweep_folder: Path) -> str:
    result = CliRunner().invoke(app, ["report", str(sweep_folder)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def page(sweep_folder: Path, shown: str) -> str:
    return (sweep_folder / "report.html").read_text(encoding="utf-8")


def figures(page: str) -> dict[str, dict]:
    blocks = re.findall(r'data-plot="plot-(\w+)">(.*?)</script>', page, re.DOTALL)
    return {name: json.loads(text) for name, text in blocks}


def test_every_plot_is_there_and_plotly_accepts_it(page: str) -> None:
    drawn = figures(page)
    assert set(drawn) == {"differences", "curves_steps", "curves_tokens", "pools"}
    for name, figure in drawn.items():
        go.Figure(figure)
        assert f'id="plot-{name}"' in page
    curves = drawn["curves_steps"]["data"]
    assert len(curves) == 2 * 4  # a band and a line for each of four settings
    assert curves[1]["x"] == [0, 1, 2, 3, 4]
    assert len(drawn["differences"]["data"][0]["y"]) == 3
    assert drawn["pools"]["data"][0]["y"] == ["add2 *", "max3 *"]


def test_the_page_tells_what_differs_and_what_each_trial_came_to(page: str) -> None:
    assert "curricula.dump:Dump" in page
    assert "curriculum.window" in page
    assert "12 of 12 trials finished" in page
    assert page.count("<td>finished</td>") == 12
    assert "Differences to prompt.system=plain, curriculum=uniform" in page


def test_a_browser_draws_every_plot_and_runs_nothing_of_a_label(
    sweep_folder: Path, page: str
) -> None:
    visit = open_in_browser(sweep_folder / "report.html")
    assert (visit.console_errors, visit.dialogs, visit.requests) == ((), (), ())
    assert len(visit.plots) == len(figures(page)) == 4
    assert [plot for plot in visit.plots if plot.marks == 0 or plot.width < 200] == []
    assert "owned" not in visit.title
    assert HOSTILE in visit.text


def test_a_script_in_a_label_is_inert(page: str) -> None:
    assert HOSTILE not in page
    assert "<img" not in page
    assert page.count("<script") == 4 + 2  # four figures, plotly, and the page's own


def test_a_browser_draws_the_page_and_complains_of_nothing(sweep_folder: Path, page: str) -> None:
    visit = open_in_browser(sweep_folder / "report.html", ask={"marks": MARKS})
    assert (visit.console_errors, visit.requests, visit.dialogs) == ((), (), ())
    assert visit.title == "small · rlreason"
    assert HOSTILE in visit.text
    assert {plot.id for plot in visit.plots} == {f"plot-{name}" for name in figures(page)}
    assert [plot.id for plot in visit.plots if plot.height < 150] == []
    # Points of three comparisons, twice; four lines and four bands (an area and its outline),
    # twice; one picture.
    assert visit.answers["marks"] == [6, 12, 12, 1]


def test_the_table_is_printed_and_written(sweep_folder: Path, shown: str) -> None:
    table = (sweep_folder / "table.md").read_text()
    assert table in shown
    lines = [line for line in table.splitlines() if line.startswith("|")]
    # |  | seeds | final accuracy | ...: every row of a table has as many cells as its head.
    assert lines[0].split(" | ")[1:3] == ["seeds", "final accuracy"]
    assert len({line.count(" | ") for line in lines[:6]}) == 1
    assert re.search(r"\[[+-]0\.\d{3}, [+-]0\.\d{3}\]", table)
    assert "Holm" in table


def test_a_sweep_is_found_by_name_and_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(tmp_path)
    run_here(plan, tmp_path / "gates")
    (plan.run_folder(plan.trials[3]) / "evaluations.jsonl").unlink()
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["report", "small"])
    assert result.exit_code == 0, result.output
    assert "Not finished: dump-s1." in result.stdout
    assert "Not finished: dump-s1." in (plan.folder / "report.html").read_text()
    assert CliRunner().invoke(app, ["report", "small", "--completions", "2"]).exit_code == 2


def test_a_moved_sweep_still_tells_everything(sweep_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.copytree(sweep_folder, moved / "renamed")
    result = CliRunner().invoke(app, ["report", str(moved / "renamed")])
    assert result.exit_code == 0, result.output
    assert "12 of 12" in (moved / "renamed" / "report.html").read_text()
