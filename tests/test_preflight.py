"""A user's mistakes: one message each, before vllm, deepspeed or a model is loaded."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from step_records import scored_group
from warm_start import WarmProcess

from rlreason.config import GrpoConfig
from rlreason.errors import ConfigError, DataError
from rlreason.journal import Journal
from rlreason.plugins import build_plugin
from rlreason.preflight import preflight
from rlreason.types import PoolFacts, Problem, ScoredGroup

RECIPE = """\
kind: grpo
run: {name: tiny, steps: 2}
model: {path: tiny-arithmetic}
pools:
  - {name: add3, source: "arithmetic:add", options: {digits: 3, size: 50}, held_out: 4}
scoring:
  reward: rewards.boxed_exact:BoxedExact
rollout:
  group_size: 4
  max_completion_tokens: 60
"""


PROGRAM = """\
import sys
from rlreason.cli import main
try:
    main()
finally:
    heavy = {"vllm", "deepspeed"} & set(sys.modules)
    print("HEAVY", *heavy, file=sys.stderr)
"""


class Train(Protocol):
    """Exit code, output, and whether anything heavy was imported."""

    def __call__(self, recipe: str, *arguments: str) -> tuple[int, str, bool]: ...


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProcess]:
    """Has imported what a check of a recipe may import."""
    imported = ["rlreason.cli", "rlreason.restarting", "transformers.generation.utils"]
    process = WarmProcess(tmp_path_factory.mktemp("light"), imported)
    yield process
    process.close()


@pytest.fixture
def train(light: WarmProcess, tmp_path: Path) -> Train:
    def start(recipe: str, *arguments: str) -> tuple[int, str, bool]:
        (tmp_path / "mine.yaml").write_text(recipe)
        program = tmp_path / "program.py"
        program.write_text(PROGRAM)
        code, output = light.run(program, "train", "mine.yaml", *arguments, cwd=tmp_path)
        *lines, heavy = output.strip().splitlines()
        return code, "\n".join(lines), heavy.strip() != "HEAVY"

    return start


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("group_size: 4", "temprature: 0.7", ["line 9", "rollout.temprature", "'temperature'"]),
        ("group_size: 4", "group_size: 1", ["line 9", "rollout.group_size = 1", "2"]),
        ("path: tiny-arithmetic", "path: no-such", ["model.path = 'no-such'", "tiny-arithmetic"]),
        ("BoxedExact", "BoxedExakt", ["BoxedExakt", "did you mean 'BoxedExact'"]),
        ("rewards.boxed_exact", "rewards.boxed_exakt", ["no module", "rewards.boxed_exact"]),
        ("arithmetic:add", "arithmetic:ad", ["pools.add3", "'add'"]),
        ("max_completion_tokens: 60", "max_completion_tokens: 900", ["takes 256", "lower it to"]),
        ("held_out: 4", "held_out: 400", ["add3", "held_out"]),
    ],
)
def test_a_mistake_is_one_message_before_anything_heavy(
    train: Train, tmp_path: Path, old: str, new: str, told: list[str]
) -> None:
    assert old in RECIPE
    code, output, heavy = train(RECIPE.replace(old, new))
    assert code == 2
    assert not heavy
    assert "Traceback" not in output
    assert [part for part in told if part not in output] == [], output
    assert not (tmp_path / "runs").exists()


def test_a_row_without_an_answer_is_named(train: Train, tmp_path: Path) -> None:
    rows = [{"prompt": f"add {n}+1", "answer": str(n + 1)} for n in range(10, 30)]
    del rows[6]["answer"]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = RECIPE.replace(
        'source: "arithmetic:add", options: {digits: 3, size: 50}', "source: mine.jsonl"
    )
    code, output, heavy = train(recipe)
    assert code == 2
    assert not heavy
    assert "mine.jsonl line 7" in output
    assert "answer" in output


def test_a_dry_run_prints_the_plan_and_builds_nothing(train: Train, tmp_path: Path) -> None:
    code, output, heavy = train(RECIPE, "--dry-run", "run.steps=7")
    assert code == 0, output
    assert not heavy
    assert "7 steps" in output
    assert "add3" in output
    assert not (tmp_path / "runs").exists()


def config(**changes: object) -> GrpoConfig:
    values = {
        "model": {"path": "tiny-arithmetic"},
        "pools": [
            {
                "name": "mine",
                "source": "mine.jsonl",
                "reward": "rewards.math_answer:MathAnswer",
                "held_out": 2,
            }
        ],
        "rollout": {"max_completion_tokens": 60},
    }
    return GrpoConfig.model_validate(values | changes)


def write_rows(folder: Path, answers: list[str]) -> None:
    rows = [{"prompt": f"add {n}+1", "answer": answer} for n, answer in enumerate(answers)]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_an_answer_that_the_verifier_cannot_read_stops_the_run_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, ["1", "2", r"\frac{", "4"])
    with pytest.raises(DataError, match=r"no mathematics that can be read"):
        preflight(config())


def test_the_plan_holds_what_the_run_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, [str(n + 1) for n in range(12)])
    plan = preflight(config())
    assert (len(plan.train["mine"]), len(plan.held_out["mine"])) == (10, 2)
    ids = {problem.id for problem in plan.train["mine"]}
    assert ids.isdisjoint(problem.id for problem in plan.held_out["mine"])
    # <bos> add space 1 0 + 1 newline, and the longest completion
    assert plan.max_len == 8 + 60
    assert plan.eos_ids == (plan.encoder.tokenizer.eos_token_id,)


def of_problem(scored: ScoredGroup, problem: Problem) -> ScoredGroup:
    return replace(scored, group=replace(scored.group, problem=problem))


def test_a_selection_narrows_what_is_trained_on_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, [str(n + 1) for n in range(12)])
    whole = preflight(config())
    scored = [
        scored_group("mine", 0, [0.0, 1.0]),  # of the problem "p0", which the pool has not
        of_problem(scored_group("mine", 1, [0.0, 1.0]), whole.train["mine"][3]),
    ]
    Journal(tmp_path / "old" / "steps").commit(0, weights={}, scored=scored, policy_version=0)
    select = {"run": "old", "keep": 1, "min_visits": 1}
    plan = preflight(config(pools=[{**config().pools[0].model_dump(), "select": select}]))
    assert plan.train["mine"] == [whole.train["mine"][3]]
    assert plan.held_out == whole.held_out
    assert plan.facts["mine"].size == 1


def test_the_curriculum_is_told_the_bounds_of_each_reward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, [str(n + 1) for n in range(12)])
    plan = preflight(config())
    bounds = build_plugin(plan.rewards["mine"].use, {}, where="reward").bounds
    assert plan.facts["mine"] == PoolFacts(size=len(plan.train["mine"]), reward_bounds=bounds)


def test_a_prompt_that_leaves_no_room_names_both_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, [str(n + 1) for n in range(12)])
    with pytest.raises(ConfigError, match="max_completion_tokens = 250"):
        preflight(config(rollout={"max_completion_tokens": 250}))


@pytest.mark.parametrize(
    ("question", "template"), [("add 3+1", "{problem}"), ("Solve  add 3+1 ", "Solve {problem}")]
)
def test_a_shot_that_is_also_a_problem_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str, template: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, [str(n + 1) for n in range(12)])
    prompt = {"template": template, "shots": [[question, "\\boxed{4}"]]}
    with pytest.raises(ConfigError, match=r"prompt\.shots: 'add 3\+1' is also problem mine"):
        preflight(config(prompt=prompt))
    preflight(config(prompt=prompt | {"shots": [["add 99+1", "\\boxed{100}"]]}))
