"""The page of a run: all of it there, nothing of it active, and no run too young for it."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest
from rich.console import Console
from synthetic_run import HOSTILE, POOLS, step_metrics, write_journal, write_run

from rlreason.errors import DataError
from rlreason.report import best_and_worst, write_report
from rlreason.report.completions import read_extremes
from rlreason.report.figures import MAX_POINTS, thin

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects scripts and visible text, and checks that elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._open and self._open[-1] != "style":
            self.text += data

    def figures(self) -> dict[str, dict]:
        blocks = [item for item in self.scripts if item[0].get("type") == "application/json"]
        return {
            attrs["data-plot"].removeprefix("plot-"): json.loads(text) for attrs, text in blocks
        }


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "synthetic")


@pytest.fixture(scope="module")
def page(run_folder: Path) -> Page:
    return Page(write_report(run_folder).read_text(encoding="utf-8"))


def test_every_plot_is_there_and_plotly_accepts_it(page: Page) -> None:
    figures = page.figures()
    assert set(figures) == {
        "accuracy", "accuracy_over_versions", "accuracy_over_tokens", "pool_curves", "pool_map",
        "weight_lines", "token_areas", "bought", "reward", "signal", "lengths", "faults", "entropy",
        "mismatch", "grad_norm", "draw_entropy", "speed", "phases",
    }  # fmt: skip
    for figure in figures.values():
        go.Figure(figure)
    ids = {attrs.get("id") for _, attrs in page.tags}
    assert {f"plot-{name}" for name in figures} <= ids


def test_plots_hold_the_runs_numbers(page: Page) -> None:
    figures = page.figures()
    before, after = figures["accuracy"]["data"]
    assert before["y"] == ["all pools", *POOLS]
    assert (before["x"][1], after["x"][1]) == (0.1, 0.98)
    assert after["error_x"]["arrayminus"][1] == pytest.approx(0.0344, abs=1e-3)
    assert len(figures["pool_map"]["data"][0]["z"]) == len(POOLS)
    weights = [row.pools["add3"].weight for row in (step_metrics(step, 60) for step in range(60))]
    assert figures["pool_map"]["data"][0]["z"][1] == pytest.approx(weights, rel=1e-3)
    assert figures["grad_norm"]["data"][0]["y"][30] is None


def test_the_page_tells_what_ran_and_how_it_went(page: Page) -> None:
    for words in (
        "synthetic", "tiny-arithmetic", "curricula.dump:Dump", "0.10 → 0.58", "60 of 60",
        "2 replayed after a resume", "0.980 [0.946, 1.000]", "+0.880", "1.000 (k = 4)",
        "the update was skipped", "no group has signal", "learner.learning_rate", "1e-06",
    ):  # fmt: skip
        assert words in page.text, words
    assert "learner.schedule" not in page.text  # it is set, but to the default


def test_a_script_in_a_completion_is_inert(page: Page, run_folder: Path) -> None:
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    assert HOSTILE.split(">")[0] in page.text  # shown as text ...
    assert "document.title='owned'" not in "".join(code for _, code in page.scripts)  # ... not run
    assert "img" not in {tag for tag, _ in page.tags}
    assert "\\x1b[2J\\u202eevil" in page.text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_pool_name_cannot_leave_its_figure(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    path = folder / "metrics.jsonl"
    path.write_text(path.read_text().replace('"add2"', '"</script><script>alert(1)//"'))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert page.figures()["pool_map"]["data"][0]["y"][0] == (
        "&lt;/script&gt;&lt;script&gt;alert(1)//"  # plotly reads markup in the names of pools
    )
    assert len([1 for attrs, _ in page.scripts if not attrs]) == 2


def test_only_the_two_own_scripts_may_run_and_nothing_is_loaded(page: Page) -> None:
    (policy,) = [
        attrs["content"] for tag, attrs in page.tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    own = [code for attrs, code in page.scripts if not attrs]
    hashes = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in own]
    assert len(hashes) == 2
    assert f"script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}';" in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"https?:", policy)
    loads = [attrs.get(key) for _, attrs in page.tags for key in ("src", "href") if attrs.get(key)]
    assert loads == ["data:,"]


def test_secrets_of_the_recipe_stay_out(run_folder: Path, page: Page) -> None:
    assert "wandb-very-secret" not in (run_folder / "report.html").read_text(encoding="utf-8")
    assert "log.wandb.api_key" in page.text


def test_a_run_without_anything_yet_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("kind: grpo\nmodel: {path: m}\npools: []\n")
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.figures() == {}
    for words in ("No evaluation yet", "No step yet", "No step is journaled yet"):
        assert words in page.text


def test_a_run_that_was_just_killed_has_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=3, versions=(0,))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "pol')
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert [trace["name"] for trace in page.figures()["accuracy"]["data"]] == ["before"]
    assert page.figures()["entropy"]["data"][0]["x"] == [0, 1, 2]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a run folder, it has no config\.yaml"):
        write_report(tmp_path)


def test_the_page_shows_the_step_that_is_asked_for(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=9)
    write_journal(folder, 2)
    write_report(folder, step=2)
    assert "Completions of step 2" in (folder / "report.html").read_text(encoding="utf-8")
    with pytest.raises(DataError, match="the journal has no step 5; it holds 2 to 8"):
        write_report(folder, step=5)


def test_best_and_worst_show_one_completion_per_problem(run_folder: Path) -> None:
    extremes = read_extremes(run_folder, None)
    assert extremes is not None
    assert extremes.step == 59
    assert [item.score for item in extremes.best] == [1.0] * 5
    assert [item.score for item in extremes.worst] == [0.0] * 5
    for items in (extremes.best, extremes.worst):
        assert len({item.slot for item in items}) == 5


def test_a_completion_hidden_by_infra_is_neither_best_nor_worst(tmp_path: Path) -> None:
    write_journal(tmp_path, 0, groups=2)  # its infra completions have the highest score, 9
    extremes = read_extremes(tmp_path, 0, 20)
    assert extremes is not None
    assert {item.outcome for item in extremes.best + extremes.worst} == {"ok"}


def test_a_step_without_a_manifest_does_not_exist(tmp_path: Path) -> None:
    write_journal(tmp_path, 4)
    (tmp_path / "steps" / "000004" / "MANIFEST.json").unlink()
    assert read_extremes(tmp_path, None) is None
    with pytest.raises(DataError, match="no step 4; it is empty"):
        best_and_worst(tmp_path, 4)


def test_the_terminal_shows_the_same_with_escapes_spelled_out(run_folder: Path) -> None:
    console = Console(file=io.StringIO(), width=110, force_terminal=True, color_system=None)
    console.print(best_and_worst(run_folder, 59, count=2))
    shown = re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue())
    assert "best 2 of step 59" in shown
    assert "worst 2 of step 59" in shown
    assert "advantage +1.50" in shown
    assert "\\x1b[2J\\u202eevil" in shown
    assert "\x1b" not in shown


def test_long_runs_are_thinned_to_their_end() -> None:
    rows = list(range(2501))
    kept = thin(rows)  # type: ignore[arg-type,type-var]
    assert len(kept) <= MAX_POINTS
    assert kept[-1] == 2500
    assert thin(rows[:10]) == rows[:10]  # type: ignore[arg-type]
