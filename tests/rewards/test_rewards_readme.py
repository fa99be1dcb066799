"""What the rewards' README tells a user: its code runs, its recipes load, its table is complete."""

import ast
import re
from pathlib import Path

import pytest

import rewards
from rlreason.config_file import load_config
from rlreason.errors import DataError
from rlreason.plugins import build_plugin, load_plugin
from rlreason.reward_check.check import check_reward
from rlreason.scoring import WorkerScorer
from rlreason.types import Problem

FOLDER = Path(rewards.__file__).parent
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def example(folder: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (folder / "mine.py").write_text(code, encoding="utf-8")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    return f"{folder / 'mine.py'}:EndsWithAnswer"


def test_the_example_scores_the_last_line(tmp_path: Path) -> None:
    reward = build_plugin(example(tmp_path), {}, where="reward")
    problem = Problem(id="1", pool="p", prompt="?", answer="7")
    completions = ("so\n7\n", "7\nso", "", "17")
    assert [reward(problem, completion) for completion in completions] == [1.0, 0.0, 0.0, 0.0]
    with pytest.raises(DataError):
        reward(Problem(id="1", pool="p", prompt="?"), "7")


def test_the_example_passes_the_test_that_it_is_sent_to(tmp_path: Path) -> None:
    problems = [Problem(id="1", pool="p", prompt="?", answer="12")]
    assert check_reward(example(tmp_path), {}, problems=problems).failed == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_yaml_makes_a_run(place: int, tmp_path: Path) -> None:
    snippet = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[place]
    if "trl.rewards" in snippet:
        pytest.importorskip("trl")
    snippet = snippet.replace("path/to/mine.py:EndsWithAnswer", example(tmp_path))
    pools = "" if "pools:" in snippet else "pools: [{name: p, source: data/problems.jsonl}]\n"
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"kind: grpo\nmodel: {{path: tiny-arithmetic}}\n{pools}{snippet}")
    config = load_config(str(recipe), [])
    plugins = {pool.name: config.reward_of(pool) for pool in config.pools}
    WorkerScorer(plugins, config.scoring, seed=0).check()


def test_the_table_holds_every_reward_that_is_shipped() -> None:
    named = set(re.findall(r"^\| `(rewards\.[\w.]+:\w+)` \|", README, re.MULTILINE))
    shipped = {
        f"rewards.{path.stem}:{node.name}"
        for path in FOLDER.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and _is_reward(node)
    }
    assert named == shipped
    for path in named:
        load_plugin(path, where="README")


def _is_reward(node: ast.ClassDef) -> bool:
    methods = {child.name for child in node.body if isinstance(child, ast.FunctionDef)}
    return not node.name.startswith("_") and bool(methods & {"__call__", "score_group"})
