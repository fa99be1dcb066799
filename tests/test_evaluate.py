"""The evaluator with a scripted engine: what is correct, what is counted, what is written."""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from rlreason.config import EvaluationSection
from rlreason.errors import ConfigError, StalePolicyError, TrainingStopped
from rlreason.estimates import fraction_estimate, mean_estimate
from rlreason.evaluate import Evaluation, Evaluator, comparison_table
from rlreason.types import Outcome, Problem, Rollout, RolloutGroup, Score

Script = dict[str, list[str]]
"""problem key -> what the engine writes: the greedy completion, then the samples in turn."""

OUTCOMES: dict[str, Outcome] = {"infra": "infra", "?": "unparseable"}


def problem(pool: str, name: str) -> Problem:
    return Problem(id=name, pool=pool, prompt="1+1=", answer="right")


class ScriptedEngine:
    """Writes the script's words; a word has a token per letter. Groups finish last first."""

    def __init__(self, script: Script, policy_version: int = 20) -> None:
        self.script = script
        self.policy_version = policy_version
        self.calls: list[tuple[int, bool]] = []

    def evaluate(
        self, problems: Sequence[Problem], *, samples: int, greedy: bool
    ) -> Iterator[RolloutGroup]:
        self.calls.append((samples, greedy))
        for slot, asked in reversed(list(enumerate(problems))):
            first, *rest = self.script[asked.key]
            words = [first] if greedy else rest[:samples]
            rollouts = tuple(self._rollout(word) for word in words)
            yield RolloutGroup(problem=asked, slot=slot, rollouts=rollouts)

    def _rollout(self, word: str) -> Rollout:
        return Rollout(
            prompt_ids=(1,),
            completion_ids=(2,) * len(word),
            completion=word,
            rollout_logprobs=(0.0,) * len(word),
            finish_reason="length" if len(word) > 8 else "stop",
            policy_version=self.policy_version,
        )


class WordScorer:
    """``right`` scores the upper bound 2, ``almost`` 1.9, everything else the floor -1."""

    VALUES = {"right": 2.0, "rounded": 2.0 - 1e-15, "almost": 1.9}  # noqa: RUF012

    def score(self, groups: Iterable[RolloutGroup]) -> list[tuple[RolloutGroup, tuple[Score, ...]]]:
        scored = [(group, tuple(map(self._score, group.rollouts))) for group in groups]
        return sorted(scored, key=lambda pair: pair[0].slot)

    def _score(self, rollout: Rollout) -> Score:
        word = rollout.completion
        return Score(value=self.VALUES.get(word, -1.0), outcome=OUTCOMES.get(word, "ok"))


SCRIPT: Script = {
    "easy/1": ["right", "right", "right", "wrong", "right"],
    "easy/2": ["rounded", "wrong", "right", "wrong", "wrong"],
    "easy/3": ["almost", "wrong", "wrong", "wrong", "almost"],
    "hard/1": ["?", "wrong", "wrong", "wrong", "wrong"],
    "hard/2": ["incessant", "wrong", "wrong", "wrong", "wrong"],
}


def evaluator(folder: Path, script: Script, samples: int = 4, version: int = 20) -> Evaluator:
    held_out: dict[str, list[Problem]] = {"easy": [], "hard": [], "empty": []}
    for key in script:
        pool, name = key.split("/")
        held_out[pool].append(problem(pool, name))
    engine: Any = ScriptedEngine(script, version)
    bounds = {"easy": (-1.0, 2.0), "hard": (-1.0, 2.0)}
    config = EvaluationSection(samples=samples)
    return Evaluator(engine, WordScorer(), held_out, config, bounds, folder)


def test_greedy_accuracy_counts_completions_at_the_upper_bound(tmp_path: Path) -> None:
    result = evaluator(tmp_path, SCRIPT).evaluate(20)
    assert (result.version, list(result.pools)) == (20, ["easy", "hard"])
    assert result.pools["easy"].greedy == fraction_estimate([True, True, False])
    assert result.pools["hard"].greedy == fraction_estimate([False, False])
    assert result.overall.greedy == fraction_estimate([True] * 2 + [False] * 3)
    assert result.macro_greedy == pytest.approx((2 / 3 + 0) / 2)


def test_samples_give_avg_and_unbiased_pass_at_k_over_problems(tmp_path: Path) -> None:
    result = evaluator(tmp_path, SCRIPT).evaluate(20)
    easy = result.pools["easy"]
    assert easy.avg_at_k == mean_estimate([3 / 4, 1 / 4, 0.0])
    assert easy.pass_at_k == {
        1: mean_estimate([3 / 4, 1 / 4, 0.0]),
        2: mean_estimate([1.0, 1 / 2, 0.0]),  # 1 - C(1,2)/6, 1 - C(3,2)/6
        4: mean_estimate([1.0, 1.0, 0.0]),
    }
    assert result.overall.avg_at_k == mean_estimate([3 / 4, 1 / 4, 0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("samples", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4])]
)
def test_pass_at_k_covers_powers_of_two_and_the_samples(
    tmp_path: Path, samples: int, expected: list[int]
) -> None:
    result = evaluator(tmp_path, SCRIPT, samples).evaluate(20)
    assert list(result.overall.pass_at_k) == expected


def test_length_truncation_and_unparseable_answers_are_of_the_greedy_completions(
    tmp_path: Path,
) -> None:
    result = evaluator(tmp_path, SCRIPT).evaluate(20)
    hard = result.pools["hard"]
    assert hard.mean_tokens == (1 + 9) / 2
    assert hard.num_problems == 2
    assert (hard.truncated_frac, hard.unparseable_frac) == (1 / 2, 1 / 2)
    assert (result.overall.truncated_frac, result.overall.unparseable_frac) == (1 / 5, 1 / 5)


def test_without_samples_only_greedy_completions_are_asked_for(tmp_path: Path) -> None:
    subject = evaluator(tmp_path, SCRIPT, samples=0)
    result = subject.evaluate(20)
    assert subject._engine.calls == [(1, True)]  # type: ignore[attr-defined]
    assert (result.overall.avg_at_k, result.overall.pass_at_k) == (None, {})


def test_infra_faults_are_left_out_of_every_accuracy_and_counted(tmp_path: Path) -> None:
    script = {
        "easy/1": ["infra", "right", "infra", "infra", "wrong"],
        "easy/2": ["right", "infra", "infra", "infra", "infra"],
    }
    easy = evaluator(tmp_path, script).evaluate(20).pools["easy"]
    assert easy.greedy == fraction_estimate([True])
    assert easy.avg_at_k == mean_estimate([0.5])
    assert list(easy.pass_at_k) == [1, 2]  # no problem has four scored samples
    assert (easy.num_problems, easy.num_infra) == (2, 1 + 2 + 4)


def test_a_pool_without_one_scored_greedy_completion_stops_the_run(tmp_path: Path) -> None:
    script = {"easy/1": ["right"], "hard/1": ["infra"]}
    with pytest.raises(TrainingStopped, match=r"version 20.*'hard'"):
        evaluator(tmp_path, script, samples=0).evaluate(20)


def test_completions_of_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StalePolicyError, match=r"version 20.*\[19\]"):
        evaluator(tmp_path, SCRIPT, version=19).evaluate(20)
    assert not (tmp_path / "evaluations").exists()


def test_pools_that_hold_nothing_out_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="held_out"):
        evaluator(tmp_path, {})


def test_each_problem_is_a_row_of_the_parquet_file(tmp_path: Path) -> None:
    script = SCRIPT | {"hard/2": ["infra", "right", "wrong", "infra", "incessant"]}
    evaluator(tmp_path, script).evaluate(20)
    assert [path.name for path in (tmp_path / "evaluations").iterdir()] == ["000020.parquet"]
    rows = pq.read_table(tmp_path / "evaluations" / "000020.parquet").to_pylist()
    assert [(row["pool"], row["problem_id"], row["greedy_correct"]) for row in rows] == [
        ("easy", "1", True),
        ("easy", "2", True),
        ("easy", "3", False),
        ("hard", "1", False),
        ("hard", "2", None),
    ]
    assert rows[4] == {
        "version": 20,
        "pool": "hard",
        "problem_id": "2",
        "greedy_correct": None,
        "greedy_completion": "infra",
        "greedy_tokens": 5,
        "greedy_finish_reason": "stop",
        "greedy_outcome": "infra",
        "greedy_score": -1.0,
        "num_samples": 3,
        "num_correct": 1,
        "num_infra": 2,
        "mean_sample_tokens": (5 + 5 + 5 + 9) / 4,
    }


def test_evaluating_a_version_again_replaces_its_file(tmp_path: Path) -> None:
    evaluator(tmp_path, SCRIPT, samples=0).evaluate(20)
    evaluator(tmp_path, {"easy/1": ["wrong"]}, samples=0).evaluate(20)
    rows = pq.read_table(tmp_path / "evaluations" / "000020.parquet").to_pylist()
    assert [row["greedy_completion"] for row in rows] == ["wrong"]
    assert rows[0]["mean_sample_tokens"] is None


def test_a_write_that_fails_leaves_the_file_before_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(table: Any, file: Any) -> None:
        file.write(b"half of a table")
        raise OSError("no space left on device")

    evaluator(tmp_path, SCRIPT).evaluate(20)
    before = (tmp_path / "evaluations" / "000020.parquet").read_bytes()
    monkeypatch.setattr("rlreason.problem_results.pq.write_table", disk_full)
    with pytest.raises(OSError, match="no space"):
        evaluator(tmp_path, SCRIPT).evaluate(20)
    assert (tmp_path / "evaluations" / "000020.parquet").read_bytes() == before


@pytest.mark.parametrize("samples", [0, 4])
def test_an_evaluation_survives_a_line_of_json(tmp_path: Path, samples: int) -> None:
    result = evaluator(tmp_path, SCRIPT, samples).evaluate(20)
    assert Evaluation.from_json(json.loads(json.dumps(result.to_json()))) == result


@pytest.mark.parametrize("samples", [0, 4])
def test_the_comparison_shows_before_and_after_with_intervals(tmp_path: Path, samples: int) -> None:
    before = evaluator(tmp_path, SCRIPT, samples).evaluate(20)
    solved = {key: ["right"] * 5 for key in SCRIPT}
    after = evaluator(tmp_path, solved, samples, version=40).evaluate(40)
    table = comparison_table(before, after)
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(table)
    text = console.export_text()
    (easy,) = (line.split("│")[1:-1] for line in text.splitlines() if "easy" in line)
    cells = [cell.strip() for cell in easy]
    assert cells[:4] == ["easy", "3", str(before.pools["easy"].greedy), "1.000 [0.439, 1.000]"]
    assert cells[4] == "6.0 -> 5.0"
    averages = [str(before.pools["easy"].avg_at_k), "1.000 [0.439, 1.000]"]
    assert cells[5:] == (averages if samples else [])
    assert "version 20 -> 40" in text
    assert ("avg@4 after" in text) == bool(samples)
    (macro,) = (line for line in text.splitlines() if "mean over pools" in line)
    assert macro.replace("│", " ").split() == ["mean", "over", "pools", "0.333", "1.000"]


def test_a_pool_that_came_later_is_compared_with_nothing(tmp_path: Path) -> None:
    before = evaluator(tmp_path, SCRIPT, 0).evaluate(20)
    after = evaluator(tmp_path, SCRIPT, 0, version=40).evaluate(40)
    fewer = replace(before, pools={"easy": before.pools["easy"]})
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(comparison_table(fewer, after))
    lines = [line.replace("│", " ").split() for line in console.export_text().splitlines()]
    rows = {line[0]: line[1:] for line in lines if line}
    dashes = {name: rows[name].count("-") for name in ("easy", *after.pools, "all", "mean")}
    assert dashes == {**dict.fromkeys(after.pools, 2), "easy": 0, "all": 2, "mean": 1}
