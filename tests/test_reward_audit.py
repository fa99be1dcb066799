"""``rlreason reward audit``: a run's journal, scored again."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from rlreason.cli import app
from rlreason.journal import Journal
from rlreason.types import Outcome, Problem, Rollout, RolloutGroup, Score, ScoredGroup

# What the run rewarded (1) or refused (0), beside a completion that LastLine rewards ("12") or not.
Row = tuple[float, str, Outcome]
BOTH: Row = (1.0, "12", "ok")
ONLY_RUN: Row = (1.0, "it is 12 \u202e", "ok")
ONLY_SECOND: Row = (0.0, "12", "unparseable")
NEITHER: Row = (0.0, "13", "ok")
LEFT_OUT: Row = (0.0, "12", "infra")

STEPS: dict[int, dict[str, list[Row]]] = {
    3: {"a": [BOTH, BOTH, NEITHER, LEFT_OUT], "b": [NEITHER, NEITHER]},
    4: {"a": [BOTH, ONLY_RUN, NEITHER, NEITHER], "b": [ONLY_SECOND, NEITHER]},
    5: {"a": [BOTH, ONLY_RUN, ONLY_RUN, ONLY_RUN]},
}


def scored(pool: str, slot: int, rows: list[Row]) -> ScoredGroup:
    rollouts = tuple(
        Rollout(
            prompt_ids=(1,),
            completion_ids=(1,),
            completion=text,
            rollout_logprobs=(0.0,),
            finish_reason="stop",
            policy_version=0,
        )
        for _, text, _ in rows
    )
    problem = Problem(id=f"p{slot}", pool=pool, prompt="?", answer="12")
    return ScoredGroup(
        group=RolloutGroup(problem=problem, slot=slot, rollouts=rollouts),
        scores=tuple(Score(value=value, outcome=outcome) for value, _, outcome in rows),
        advantages=(0.0,) * len(rows),
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(
        "kind: grpo\nmodel: {path: tiny-arithmetic}\n"
        "scoring: {reward: naive_rewards:ContainsGold}\n"
        "pools: [{name: a, source: a.jsonl}, {name: b, source: b.jsonl}]\n"
    )
    journal = Journal(tmp_path / "steps")
    for step, pools in STEPS.items():
        groups = [scored(pool, slot, rows) for slot, (pool, rows) in enumerate(pools.items())]
        journal.commit(step, weights={"a": 0.5, "b": 0.5}, scored=groups, policy_version=step)
    return tmp_path


def audit(run: Path, *arguments: str, reward: str = "naive_rewards:LastLine") -> Result:
    options = ["--reward", reward] if reward else []
    return CliRunner().invoke(app, ["reward", "audit", str(run), *options, *arguments])


def test_disagreement_is_counted_by_pool_and_step(run: Path) -> None:
    result = audit(run, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    rows = {(row["step"], row["pool"]): row for row in found["rows"]}
    assert set(rows) == {(3, "a"), (3, "b"), (4, "a"), (4, "b"), (5, "a")}
    counts = ("both", "only_run", "only_second", "neither", "left_out")
    assert [rows[3, "a"][name] for name in counts] == [2, 0, 0, 1, 1]
    assert [rows[4, "b"][name] for name in counts] == [0, 0, 1, 1, 0]
    assert [rows[step, "a"]["refused_frac"] for step in (3, 4, 5)] == [0.0, 0.5, 0.75]
    assert rows[5, "a"]["missed_frac"] is None
    assert found["pools"]["a"]["refused_frac"] == 4 / 8
    assert found["pools"]["b"] == {
        "both": 0, "only_run": 0, "only_second": 1, "neither": 3, "left_out": 0,
        "refused_frac": None, "missed_frac": 0.25,
    }  # fmt: skip
    assert found["overall"]["only_run"] == 4


def test_examples_say_where_and_what(run: Path) -> None:
    found = json.loads(audit(run, "--json").stdout)
    assert len(found["only_run"]) == 3
    assert found["only_run"][0] == {
        "step": 4, "problem": "a/p0", "answer": "12", "completion": ONLY_RUN[1],
        "run": 1.0, "second": 0.0,
    }  # fmt: skip
    assert [example["problem"] for example in found["only_second"]] == ["b/p1"]


@pytest.mark.parametrize(
    ("steps", "audited"),
    [
        ("-", [3, 4, 5]),
        ("4-", [4, 5]),
        ("-4", [3, 4]),
        ("4-4", [4]),
        ("5", [5]),
        ("0-9", [3, 4, 5]),
    ],
)
def test_a_range_of_steps(run: Path, steps: str, audited: list[int]) -> None:
    assert json.loads(audit(run, "--steps", steps, "--json").stdout)["steps"] == audited


def test_the_tables_show_the_drift_and_nothing_that_drives_a_terminal(run: Path) -> None:
    output = audit(run).stdout
    row = next(line for line in output.splitlines() if line.startswith("│ a "))
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "a", "12", "4 (50.0 %)", "0.0 %", "66.7 %", "0 (0.0 %)", "1",
    ]  # fmt: skip
    assert r"it is 12 \u202e" in output
    assert "\u202e" not in output
    assert Console().width >= max(map(len, output.splitlines()))


def test_a_damaged_step_is_left_out_and_told(run: Path) -> None:
    (run / "steps" / "000004" / "rollouts.parquet").write_bytes(b"x")
    found = json.loads(audit(run, "--json").stdout)
    assert (found["steps"], found["damaged_steps"]) == ([3, 5], [4])


def test_what_the_second_reward_cannot_judge_is_left_out(run: Path) -> None:
    found = json.loads(audit(run, "--json", reward="naive_rewards:OnlyWords").stdout)
    assert found["overall"]["left_out"] == sum(
        len(rows) for pools in STEPS.values() for rows in pools.values()
    )


@pytest.mark.parametrize(
    ("arguments", "reward", "said"),
    [
        (("--steps", "x-y"), "naive_rewards:LastLine", "not a range"),
        (("--steps", "7-9"), "naive_rewards:LastLine", "its journal holds steps 3 to 5"),
        ((), "", "name the second reward"),
        ((), "naive_rewards:LastLin", "did you mean 'LastLine'"),
        ((), "naive_rewards:TakesNothing", "problem a/p0"),
    ],
)
def test_mistakes_end_with_2(run: Path, arguments: tuple[str, ...], reward: str, said: str) -> None:
    result = audit(run, *arguments, reward=reward)
    assert result.exit_code == 2
    assert said in result.stderr
