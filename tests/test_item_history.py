"""Rankings of problems by the journal of an earlier run."""

import logging
from pathlib import Path

import pytest
from step_records import scored_group

from rlreason.config import SelectionSection
from rlreason.errors import ConfigError
from rlreason.item_history import rank_items, read_histories, select_problems
from rlreason.journal import FILE, Journal
from rlreason.types import Outcome, Problem

# Scores of each visit. "p0": mean .5, variance .25; "p1": solved; "p2": .25, .0625; "p3": once.
VISITS = {0: [[0, 0], [1, 1]], 1: [[1, 1], [1, 1]], 2: [[0, 1], [0, 0]], 3: [[0, 1]]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    journal = Journal(tmp_path / "steps")
    for step in range(2):
        scored = [
            scored_group("easy", slot, [float(value) for value in visits[step]])
            for slot, visits in VISITS.items()
            if step < len(visits)
        ]
        scored.append(scored_group("hard", 9, [-1.0, 1.0]))
        journal.commit(step, weights={"easy": 1.0}, scored=scored, policy_version=step)
    return tmp_path


def problems(count: int) -> list[Problem]:
    return [Problem(id=f"p{number}", pool="easy", prompt="?") for number in range(count)]


def test_a_history_is_the_mean_score_of_each_visit_in_order(run: Path) -> None:
    histories = read_histories(run)
    assert histories["easy", "p0"].accuracies == (0.0, 1.0)
    assert histories["easy", "p2"].accuracies == (0.5, 0.0)
    assert histories["hard", "p9"].accuracies == (0.0, 0.0)
    assert (histories["easy", "p2"].mean, histories["easy", "p2"].variance) == (0.25, 0.0625)
    assert len(histories) == 5


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("historical_variance", ["p0", "p2", "p1"]),
        ("easiest", ["p1", "p0", "p2"]),
        ("hardest", ["p2", "p0", "p1"]),
    ],
)
def test_items_are_ranked_best_first_and_rare_ones_left_out(
    run: Path, by: str, order: list[str]
) -> None:
    items = [item for item in read_histories(run).values() if item.pool == "easy"]
    assert [item.problem_id for item in rank_items(items, by)] == order
    assert [item.problem_id for item in rank_items(reversed(items), by)] == order
    assert len(rank_items(items, by, min_visits=1)) == 4


def test_ties_are_in_the_order_of_ids(run: Path) -> None:
    histories = read_histories(run)
    items = [histories["hard", "p9"], histories["easy", "p1"]]  # both never varied
    ranked = rank_items(items, "historical_variance")
    assert [item.problem_id for item in ranked] == ["p1", "p9"]


def test_scores_hidden_by_infra_faults_are_no_part_of_a_visit(tmp_path: Path) -> None:
    outcomes: list[list[Outcome]] = [["ok", "infra"], ["infra", "infra"]]
    scored = [
        scored_group("easy", slot, [1.0, 0.0], outcomes=pair) for slot, pair in enumerate(outcomes)
    ]
    Journal(tmp_path / "steps").commit(0, weights={}, scored=scored, policy_version=0)
    histories = read_histories(tmp_path)
    assert {key: item.accuracies for key, item in histories.items()} == {("easy", "p0"): (1.0,)}


def test_selection_keeps_the_best_and_the_order_of_the_pool(run: Path) -> None:
    section = SelectionSection(run=str(run), keep=2)
    kept = select_problems(problems(8)[::-1], section, "easy")
    assert [problem.id for problem in kept] == ["p2", "p0"]


def test_problems_that_the_pool_no_longer_trains_on_are_not_ranked(run: Path) -> None:
    section = SelectionSection(run=str(run), keep=1)
    assert [p.id for p in select_problems(problems(8)[1:], section, "easy")] == ["p2"]


def test_a_run_that_drew_too_few_is_refused_with_numbers(run: Path) -> None:
    section = SelectionSection(run=str(run), keep=4)
    with pytest.raises(ConfigError, match=r"pools\.easy\.select\.keep = 4: .* only 3 of the 8"):
        select_problems(problems(8), section, "easy")


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no scored step"):
        read_histories(tmp_path / "nothing")


def test_a_damaged_step_is_left_out_and_told(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "steps" / "000001" / FILE).write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        histories = read_histories(run)
    assert histories["easy", "p0"].accuracies == (0.0,)
    assert "000001 is left out of the ranking" in caplog.text
