"""From run folders to a table: what is read, what is paired, what is left out and said."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_sweep import run_here, small_plan

from rlreason.config import SweepConfig
from rlreason.errors import DataError
from rlreason.sweep.analysis import Analysis, Reach, analyse
from rlreason.sweep.results import TrialResult, read_trial
from rlreason.sweep.table import conclusions

CONFIG = SweepConfig.model_validate(
    {
        "name": "x",
        "base": "x",
        "axes": {"algorithm.kl": [0, 1, 2]},
        "baseline": {"algorithm.kl": 0},
        "seeds": [0, 1, 2],
        "metrics": {"last": 2, "threshold": 0.5},
    }
)


def result(arm: str, seed: int, a: Any, b: Any, **changes: Any) -> TrialResult:
    """Two pools of two problems at versions 0, 10, 20; rows are versions."""
    fields = {
        "name": f"{arm}-s{seed}",
        "arm": arm,
        "seed": seed,
        "versions": (0, 10, 20),
        "tokens": (0, 100 + seed, 300),
        "problems": {"a": ("p", "q"), "b": ("p", "q")},
        "correct": {"a": np.array(a, float), "b": np.array(b, float)},
        "num_filled": 0,
    }
    return TrialResult(**(fields | changes))


LOW = [[0, 0], [0, 0], [1, 0]]
HIGH = [[0, 0], [1, 1], [1, 1]]


def analysed(*results: TrialResult, pools: tuple[str, ...] = ("a", "b")) -> Analysis:
    return analyse(results, CONFIG, baseline="0", pools=pools)


def test_summaries_and_differences_by_hand() -> None:
    trials = [result("0", seed, LOW, LOW) for seed in (0, 1, 2)]
    trials += [result("1", seed, HIGH, LOW) for seed in (0, 1, 2)]
    analysis = analysed(*trials)
    base, other = analysis.arms
    # Last two evaluations: problem p is right in one of two, q never -> .25 in both pools.
    assert base.final == pytest.approx((0.25, 0.25, 0.25))
    assert other.final == pytest.approx((0.625, 0.625, 0.625))  # pool a 1, pool b .25
    # Pool mean 0, 0, .5 over 0, 10, 20: trapezoids 0 + 2.5, divided by 20.
    assert base.area == pytest.approx(0.125)
    assert base.steps == Reach(times=(20, 20, 20), ends=(20, 20, 20))
    assert other.steps.times == (10, 10, 10)
    assert other.tokens.times == (100, 101, 102)
    [comparison] = analysis.comparisons
    assert comparison.final.mean == pytest.approx(0.375)
    assert comparison.steps.mean == -10
    assert comparison.left_out == "a"
    assert comparison.without is not None
    assert comparison.without.mean == 0
    assert comparison.by_pool["a"].mean == pytest.approx(0.75)


def test_pools_that_do_not_count_are_shown_but_not_compared() -> None:
    trials = [result("0", seed, LOW, LOW) for seed in (0, 1, 2)]
    trials += [result("1", seed, LOW, HIGH) for seed in (0, 1, 2)]
    [comparison] = analysed(*trials, pools=("a",)).comparisons
    assert comparison.final.mean == 0
    assert comparison.left_out is None
    assert comparison.by_pool["b"].mean == pytest.approx(0.75)


def test_only_seeds_that_both_finished_are_compared() -> None:
    trials = [result("0", seed, LOW, LOW) for seed in (0, 1, 2)]
    trials += [result("1", seed, HIGH, HIGH) for seed in (1, 2)]
    analysis = analysed(*trials)
    assert analysis.comparisons[0].seeds == (1, 2)
    assert analysis.comparisons[0].verdict == "too few seeds"
    assert "No winner is named for 1" in conclusions(analysis)[0]
    alone = analysed(result("0", 0, LOW, LOW), result("1", 1, HIGH, HIGH))
    assert alone.comparisons == ()
    assert conclusions(analysed()) == ["Nothing can be compared with 0 yet."]


def test_a_run_that_never_arrives_is_not_counted_as_the_last_step() -> None:
    never = [[0, 0], [0, 0], [0, 0]]
    trials = [result("0", seed, LOW if seed else never, never) for seed in (0, 1, 2)]
    assert str(analysed(*trials).arms[0].steps) == "> 20 (0/3)"
    assert str(Reach(times=(10, None, 20), ends=(20, 20, 20))) == "20 (2/3)"
    assert str(Reach(times=(10, None, None), ends=(20, 20, 20))) == "> 20 (1/3)"


def test_the_order_in_which_trials_are_read_changes_nothing() -> None:
    chance = np.random.default_rng(0)
    trials = [
        result(arm, seed, chance.random((3, 2)), chance.random((3, 2)))
        for arm in ("0", "1", "2")
        for seed in (0, 1, 2)
    ]
    forward, backward = analysed(*trials), analysed(*trials[:3], *trials[3:][::-1])
    by_arm = {item.arm: item for item in backward.comparisons}
    assert all(item == by_arm[item.arm] for item in forward.comparisons)


def test_trials_of_other_problems_or_versions_are_refused() -> None:
    base = result("0", 0, LOW, LOW)
    with pytest.raises(DataError, match="hold different problems out"):
        analysed(base, result("1", 0, LOW, LOW, problems={"a": ("p", "z"), "b": ("p", "q")}))
    with pytest.raises(DataError, match="different versions"):
        analysed(base, result("1", 0, LOW, LOW, versions=(0, 5, 20)))


def test_a_trial_is_read_with_its_tokens_in_the_recipes_order(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "seeds=[3]")
    run_here(plan, tmp_path / "gates")
    trial = plan.trials[1]
    read = read_trial(plan.run_folder(trial), arm=trial.arm, seed=trial.seed)
    assert list(read.correct) == ["add2", "max3"]
    assert read.versions == (0, 1, 2, 3, 4)
    assert read.tokens == (0, 100, 200, 300, 400)
    table = pq.read_table(plan.run_folder(trial) / "evaluations" / "000002.parquet").to_pylist()
    expected = [row["greedy_correct"] for row in table if row["pool"] == "max3"]
    assert read.correct["max3"][2].tolist() == expected


def test_what_an_infra_fault_hides_is_taken_from_before_and_counted(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "seeds=[3]")
    run_here(plan, tmp_path / "gates")
    folder = plan.run_folder(plan.trials[0])

    def hide(version: int, value: bool | None) -> None:
        path = folder / "evaluations" / f"{version:06d}.parquet"
        rows = pq.read_table(path).to_pylist()
        rows[0]["greedy_correct"] = value
        pq.write_table(pa.Table.from_pylist(rows), path)

    for version, value in enumerate([None, True, None, False, None]):
        hide(version, value)
    read = read_trial(folder, arm="x", seed=3)
    assert read.correct["add2"][:, 0].tolist() == [1, 1, 1, 0, 0]
    assert read.num_filled == 3
    for version in (1, 3):
        hide(version, None)
    with pytest.raises(DataError, match=r"no evaluation has a score for \[\('add2', 'p0'\)\]"):
        read_trial(folder, arm="x", seed=3)
