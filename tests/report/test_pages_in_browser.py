"""The pages in a real browser: all plots drawn, nothing complained of, foreign text inert."""

import json
import re
from pathlib import Path

import pytest
from browser import BrowserVisit, Plot, chromium, open_in_browser
from synthetic_pools import run_of
from synthetic_run import HOSTILE, HOSTILE_ID, write_run

from rlreason.report import write_report
from rlreason.report.html_page import write_page
from rlreason.report.page import render

HOSTILE_POOL = "</script><script>alert(4)</script><img src=x onerror=alert(5)>"

# A point inside the map's second row and first column; plotly answers when it has shown the hover.
HOVER = """
new Promise(done => {
  const map = document.getElementById("plot-pool_map");
  map.on("plotly_hover", () => done(map.querySelector(".hoverlayer").textContent));
  const area = map.querySelector(".nsewdrag"), box = area.getBoundingClientRect();
  const row = box.height / map.data[0].y.length;
  const place = {clientX: box.left + 2, clientY: box.top + 1.5 * row, bubbles: true};
  area.dispatchEvent(new MouseEvent("mousemove", place));
})
"""
PRESS = """
(() => {
  const map = document.getElementById("plot-pool_map"), before = map.data[0].z[6][59];
  const button = [...map.querySelectorAll(".updatemenu-button")]
    .find(item => item.textContent === "mean reward");
  button.dispatchEvent(new MouseEvent("click", {bubbles: true}));
  return [before, map.data[0].z[6][59]];
})()
"""
SORT = """
(() => {
  const table = document.getElementById("table-why");
  const headings = [...table.tHead.rows[0].cells];
  const names = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent.trim());
  const orders = {start: names()};
  for (const column of ["pool", "weight", "reward"]) {
    const heading = headings.find(item => item.textContent === column);
    heading.click(); orders[column] = names();
    heading.click(); orders[column + " again"] = names();
  }
  const column = headings.findIndex(item => item.textContent === "reward");
  const blank = row => row.cells[column].textContent.trim() === "-";
  orders.blank = [...table.tBodies[0].rows].filter(blank).map(row => row.cells[0].textContent);
  return orders;
})()
"""
ACTIVE = "document.querySelectorAll('[onerror], [onload], [onmouseover], main img').length"


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> BrowserVisit:
    """A run's page with hostile text wherever foreign text may stand."""
    folder = write_run(tmp_path_factory.mktemp("runs") / "synthetic")
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        path = folder / name
        path.write_text(path.read_text().replace('"add2"', json.dumps(HOSTILE_POOL)))
    page = write_report(folder)
    asked = {"active": ACTIVE, "hover": HOVER, "press": PRESS, "sort": SORT}
    return open_in_browser(page, ask=asked)


def test_nothing_is_complained_of_and_nothing_is_loaded(visit: BrowserVisit) -> None:
    assert visit.console_errors == ()
    assert visit.requests == ()


def test_every_plot_is_drawn(visit: BrowserVisit) -> None:
    assert len(visit.plots) == 18
    assert [plot for plot in visit.plots if plot.width < 200 or plot.height < 150] == []
    assert [plot.id for plot in visit.plots if plot.marks == 0] == []


def test_hostile_text_is_shown_and_does_nothing(visit: BrowserVisit) -> None:
    assert visit.dialogs == ()
    assert visit.title == "synthetic · rlreason"
    assert visit.answers["active"] == 0
    for words in (HOSTILE.split("\x1b")[0], HOSTILE_ID, HOSTILE_POOL):
        assert words in visit.text


def test_pointing_at_a_cell_says_why(visit: BrowserVisit) -> None:
    for words in ("add3", "step 0", "mean_abs_advantage 0.", "bonus 0.02", "reward", "1000 tokens"):
        assert words in visit.answers["hover"]


def test_a_button_changes_what_the_map_shows(visit: BrowserVisit) -> None:
    weight, reward = visit.answers["press"]
    assert weight < 0.6 < reward


def test_a_click_on_a_heading_sorts_and_another_reverses(visit: BrowserVisit) -> None:
    orders = visit.answers["sort"]
    assert orders["start"][0] == "hard"  # weighs most at the end
    assert orders["pool"] == sorted(orders["start"])
    assert orders["pool again"] == orders["pool"][::-1]
    assert orders["weight"] == orders["start"]
    assert orders["weight again"] == orders["start"][::-1]


def test_what_was_not_drawn_is_sorted_last_either_way(visit: BrowserVisit) -> None:
    orders = visit.answers["sort"]
    blank = len(orders["blank"])
    assert 0 < blank < 7
    assert set(orders["reward"][-blank:]) == set(orders["blank"])
    assert set(orders["reward again"][-blank:]) == set(orders["blank"])
    assert orders["reward"][:-blank] != orders["reward again"][:-blank]


def test_a_run_without_anything_yet_opens_too(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("kind: grpo\nmodel: {path: m}\npools: []\n")
    visit = open_in_browser(write_report(tmp_path))
    assert visit.console_errors == ()
    assert "No step yet" in visit.text


def test_a_page_of_many_pools_is_drawn_whole(tmp_path: Path) -> None:
    page = render(run_of(200, 2000), {"extremes": None, "journaled": []})
    write_page(tmp_path / "wide.html", page)
    visit = open_in_browser(tmp_path / "wide.html")
    assert visit.console_errors == ()
    assert {"plot-pool_map", "plot-accuracy_map"} <= {plot.id for plot in visit.plots}
    assert [plot for plot in visit.plots if plot.marks == 0 or plot.height > 1600] == []


def test_the_browser_tells_of_everything_that_must_not_be(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<title>bad</title><p>seen</p><div id=here></div>"
        "<script type='application/json' data-plot='here'>{}</script>"
        "<script>alert('a dialog'); console.error('an error'); throw Error('an exception')</script>"
        "<img src='http://127.0.0.1:9/x.png'>"
    )
    visit = open_in_browser(page, ask={"sum": "1 + 1"})
    assert (visit.title, visit.text.strip(), visit.answers) == ("bad", "seen", {"sum": 2})
    assert visit.dialogs == ("a dialog",)
    assert visit.requests == ("http://127.0.0.1:9/x.png",)
    assert visit.plots == (Plot(id="here", width=0, height=0, marks=0),)
    assert {re.split("[:\n]", error)[0] for error in visit.console_errors} == {
        "an error", "Error", "Failed to load resource",
    }  # fmt: skip
    assert any("an exception" in error for error in visit.console_errors)


def test_without_a_browser_a_test_is_skipped_but_in_ci_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="scripts/browser installs it"):
        chromium()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="scripts/browser installs it"):
        chromium()


def test_a_refused_script_is_complained_of(tmp_path: Path) -> None:
    page = tmp_path / "refused.html"
    page.write_text(
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">"
        "<script>document.title = 'ran'</script>"
    )
    visit = open_in_browser(page)
    assert visit.title != "ran"
    assert "Content Security Policy" in visit.console_errors[0]
