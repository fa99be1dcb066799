"""What the page says of pools, against hand arithmetic, and how much of it."""

import json
from dataclasses import replace

import pytest
from synthetic_pools import run_of
from synthetic_run import evaluation
from synthetic_run import step_metrics as synthetic_step

from rlreason.metrics import StepMetrics
from rlreason.pool_metrics import PoolMetrics
from rlreason.report.accuracy import OVERALL
from rlreason.report.accuracy_curves import MAX_PANELS, Spent, most_changed, pool_curves
from rlreason.report.chart import Chart
from rlreason.report.html_page import plot_json, render_page
from rlreason.report.page import render
from rlreason.report.pool_costs import accuracy_changes, cost_table, why_table
from rlreason.report.pool_maps import MAX_LINES, pool_map, weight_lines
from rlreason.report.pool_series import MAX_POOLS, labels, pool_series

NOTHING = {"extremes": None, "journaled": []}


def pool(draws: int = 0, **values) -> PoolMetrics:
    plain = {
        "weight": 0.5, "reward_mean": 0.0 if draws else None, "solved_frac": 0.0,
        "hopeless_frac": 0.0, "tokens": 10 * draws, "reuse_mean": None, "distinct_frac": 0.1,
        "draws_so_far": 0, "tokens_so_far": 0, "curriculum": {},
    }  # fmt: skip
    return PoolMetrics(draws=draws, **plain | values)


def steps(*pools: dict[str, PoolMetrics]) -> list[StepMetrics]:
    """Steps of a run; the tokens of all pools are counted as the recorder does."""
    return [
        replace(
            synthetic_step(step, 100),
            pools=named,
            rollout_tokens_so_far=sum(item.tokens_so_far for item in named.values()),
        )
        for step, named in enumerate(pools)
    ]


def cells(table, name: str) -> dict[str, str]:
    [row] = [row for row in (*table.top, *table.rows) if row[0].text == name]
    keys = [heading.text for heading in table.headings]
    return {f"{key}{keys[:i].count(key) or ''}": row[i].text for i, key in enumerate(keys)}


def test_a_short_run_has_a_column_for_every_step() -> None:
    series = pool_series(steps({"a": pool(2, weight=0.25)}, {"a": pool(0, weight=0.75)}))
    assert (series.stride, series.first_steps) == (1, (0, 1))
    assert series.weight == [[0.25, 0.75]]
    assert series.draws == [[2, 0]]
    assert series.reward == [[0.0, None]]


def test_a_column_of_several_steps_weighs_what_was_drawn() -> None:
    # 3 x 200 pools cells: 80 columns of 3 steps; the first holds weights 0, 0, .3 and rewards
    # 1 (three problems), nothing, .2 (one problem) -> mean (3 + .2) / 4
    first = [
        {"weight": 0.0, "draws": 3, "reward_mean": 1.0, "tokens": 7, "tokens_so_far": 7},
        {"weight": 0.0, "draws": 0, "reward_mean": None, "tokens": 0, "tokens_so_far": 7},
        {"weight": 0.3, "draws": 1, "reward_mean": 0.2, "tokens": 5, "tokens_so_far": 12},
    ]
    others = {f"pool{index}": pool() for index in range(199)}
    rows = [{"a": pool(**values, curriculum={"term": i})} for i, values in enumerate(first)]
    rows += [{"a": pool(curriculum={"term": 0.0})}] * 237
    series = pool_series(steps(*(row | others for row in rows)))
    assert (series.stride, len(series.first_steps), series.first_steps[1]) == (3, 80, 3)
    index = series.names.index("a")
    assert series.weight[index][0] == pytest.approx(0.1)
    assert series.reward[index][0] == pytest.approx(0.8)
    assert (series.draws[index][0], series.tokens[index][0]) == (4, 12)
    assert series.tokens_so_far[index][0] == 12
    assert series.terms["term"][index][0] == pytest.approx(1.0)


def test_a_pool_that_came_late_has_no_numbers_before() -> None:
    series = pool_series(steps({"a": pool()}, {"a": pool(), "new": pool(1, weight=0.2)}))
    assert series.weight[1] == [None, 0.2]
    assert series.draws[1] == [0, 1]


def test_labels_are_short_different_and_hold_no_markup() -> None:
    names = ["<b>x</b>&amp;", "y" * 100 + "1", "y" * 100 + "2", "a\u202eb"]
    shown = labels(names)
    assert shown[0] == "&lt;b&gt;x&lt;/b&gt;&amp;amp;"
    assert len(set(shown)) == 4
    assert max(map(len, shown)) < 60
    assert "\u202e" not in shown[3]


def test_no_text_of_a_figure_can_end_its_script() -> None:
    figure = {"data": [{"text": "</script><script>alert(1)</script><!--&lt;"}]}
    text = plot_json(Chart(id="x", title="", note="", figure=figure))
    assert not set("<>&") & set(text)
    assert json.loads(text) == figure


def test_why_names_every_term_and_what_was_drawn_lately() -> None:
    old = {"a": pool(8, reward_mean=1.0), "b": pool(8, reward_mean=1.0)}
    newest = {
        "a": pool(1, weight=0.2, reward_mean=0.5, curriculum={"bonus": 0.125, "seen": 1234.0}),
        "b": pool(0, weight=0.8, curriculum={"bonus": 0.25, "seen": 2.0}),
    }
    table = why_table(steps(old, *[newest] * 10))
    assert table.title == "Why these pools: step 10"
    assert [row[0].text for row in table.rows] == ["b", "a"]
    assert cells(table, "a") == {
        "pool": "a", "weight": "0.200", "bonus": "0.125", "seen": "1,234", "drawn": "10",
        "reward": "0.50", "all right": "0%", "all wrong": "0%",
    }  # fmt: skip
    assert cells(table, "b")["reward"] == "-"


def test_costs_are_the_newest_steps_totals_and_the_gain_is_per_step_and_per_token() -> None:
    before = {"a": pool(), "b": pool()}
    newest = {
        "a": pool(draws_so_far=30, tokens_so_far=8000, distinct_frac=0.25, reuse_mean=1.5),
        "b": pool(draws_so_far=10, tokens_so_far=2000),
    }
    rows = steps(before, newest)
    ends = [{"version": v, "pools": {}, "overall": {"greedy": {"mean": 0.0}}} for v in (0, 2)]
    ends[0]["pools"] = {"a": {"greedy": {"mean": 0.1}}, "b": {"greedy": {"mean": 0.5}}}
    ends[1]["pools"] = {"a": {"greedy": {"mean": 0.5}}, "b": {"greedy": {"mean": 0.4}}}
    ends[1]["overall"] = {"greedy": {"mean": 0.3}}
    changes = accuracy_changes(ends, Spent(rows))
    assert changes[OVERALL] == (0.3, 10_000)
    table = cost_table(rows, changes)
    # a: +.4 in 2 steps, and for 8,000 tokens .05 a thousand
    assert cells(table, "a") == {
        "pool": "a", "drawn": "30", "share": "75.0%", "covered": "25.0%", "reuse": "1.50",
        "tokens": "8,000", "share1": "80.0%", "accuracy": "+0.400", "per step": "+0.2",
        "per 1,000 tokens": "+0.05",
    }  # fmt: skip
    assert cells(table, "b")["per 1,000 tokens"] == "-0.05"
    assert cells(table, OVERALL)["per 1,000 tokens"] == "+0.03"


def test_tokens_of_an_evaluation_are_those_before_it() -> None:
    rows = steps({"a": pool(tokens_so_far=5)}, {"a": pool(tokens_so_far=9)})
    spent = Spent(rows)
    assert [spent.in_all(version) for version in (0, 1, 2, 3)] == [0, 5, 9, None]
    assert [spent.on("a", version) for version in (0, 1, 2)] == [0, 5, 9]
    assert spent.on("gone", 2) is None


def test_the_accuracy_of_a_pool_goes_against_steps_and_against_tokens() -> None:
    run = run_of(3, 100, evaluations=3)
    figure = pool_curves(run.evaluations, Spent(run.rows)).figure
    buttons = figure["layout"]["updatemenus"][0]["buttons"]
    by_button = [button["args"][0]["x"] for button in buttons]
    # A band and a line per pool; the line of the second pool is the fourth trace.
    assert [len(xs) for xs in by_button] == [6, 6, 6]
    assert by_button[0][3] == [0, 50, 100]
    in_all = [0, *(run.rows[step].rollout_tokens_so_far for step in (49, 99))]
    assert by_button[1][3] == in_all
    own = [0, *(run.rows[step].pools["pool_001"].tokens_so_far for step in (49, 99))]
    assert by_button[2][3] == own
    assert by_button[0][2] == [0, 50, 100, 100, 50, 0]
    greedy = run.evaluations[1]["pools"]["pool_001"]["greedy"]
    band, line = figure["data"][2:4]
    assert (band["y"][1], band["y"][4], line["y"][1]) == (
        greedy["high"], greedy["low"], greedy["mean"],
    )  # fmt: skip


def test_of_many_pools_the_most_changed_get_a_curve_in_the_order_of_the_recipe() -> None:
    first, last = evaluation(0, 60), evaluation(60, 60)
    # By construction the accuracy of each pool of the list grows less than that of the one before.
    names = list(last["pools"])
    assert most_changed([first, last], 2) == names[:2]
    wide = run_of(100, 50).evaluations
    assert len(most_changed(wide, MAX_PANELS)) == MAX_PANELS


def test_the_map_holds_every_thing_it_can_show_and_blanks_what_was_not_drawn() -> None:
    rows = steps({"a": pool(2, tokens=7), "b": pool(0, tokens=0, curriculum={"bonus": 0.5})})
    figure = pool_map(pool_series(rows)).figure
    grids = {
        button["label"]: button["args"][0]["z"][0]
        for button in figure["layout"]["updatemenus"][0]["buttons"]
    }
    assert list(grids) == [
        "weight", "mean reward", "all right", "all wrong", "problems drawn", "reuse", "tokens",
    ]  # fmt: skip
    assert grids["tokens"] == [[7], [None]]
    assert grids["weight"] == figure["data"][0]["z"] == [[0.5], [0.5]]
    assert figure["data"][0]["customdata"][1][0] == [0.5, 0, "-", "-", "-", "-", 0, 0.5]
    assert "bonus %{customdata[7]}" in figure["data"][0]["hovertemplate"]


def test_a_page_of_200_pools_and_2000_steps_stays_small() -> None:
    nothing = len(render_page("report.html", EMPTY_PAGE))
    page = render(run_of(200, 2000), NOTHING)
    assert len(page) - nothing < 3_500_000  # 2.6 MB; what every page holds, plotly above all, apart
    longer = render(run_of(200, 6000), NOTHING)
    assert len(longer) - nothing < 3_500_000
    wider = render(run_of(3 * MAX_POOLS, 2000), NOTHING)
    assert len(wider) - nothing < 3_500_000


EMPTY_PAGE = {
    "run": run_of(1, 1), "tiles": [], "stride": 1, "accuracy": [], "overall_charts": [],
    "accuracy_charts": [], "curves": [], "phases": None, "phase_rows": [], "pool_charts": [],
    "cost_charts": [], "why": None, "costs": None, **NOTHING,
}  # fmt: skip


def test_of_more_pools_the_page_shows_those_that_got_most_tokens() -> None:
    pools = {f"pool{index:03d}": pool(tokens_so_far=index) for index in range(MAX_POOLS + 50)}
    series = pool_series(steps(pools))
    assert series.names == tuple(pools)[50:]
    lines = weight_lines(series).figure["data"]
    assert len(lines) == MAX_LINES
