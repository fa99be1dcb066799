"""The curriculum that the README tells a user to write does what it says."""

import json
import re
from pathlib import Path

import pytest
from scored_groups import facts, rewarded_group

import curricula
from rlreason.errors import CheckpointError
from rlreason.plugins import build_plugin
from rlreason.protocols import Curriculum


def easy_first(folder: Path, *names: str) -> Curriculum:
    readme = Path(curricula.__file__).with_name("README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (folder / "mine.py").write_text(code, encoding="utf-8")
    built: Curriculum = build_plugin(
        f"{folder / 'mine.py'}:EasyFirst",
        {"goal": 0.5},
        facts(names, bounds=(-1.0, 1.0)),
        where="curriculum",
    )
    return built


def test_the_example_moves_on_when_a_pool_is_solved_and_resumes(tmp_path: Path) -> None:
    curriculum = easy_first(tmp_path, "a", "b")
    assert curriculum.weights() == {"a": 1.0, "b": 0.0}
    for _ in range(80):  # 1 - 0.99 ^ 80 = 0.55, of a reward of 1 in bounds that reach below 0
        curriculum.observe([rewarded_group("a", [1.0, -1.0], ["ok", "infra"])])
    assert curriculum.weights() == {"a": 0.0, "b": 1.0}
    again = easy_first(tmp_path, "b", "a")
    again.load_state_dict(json.loads(json.dumps(curriculum.state_dict())))
    assert again.weights() == {"b": 1.0, "a": 0.0}
    for _ in range(80):
        again.observe([rewarded_group("b", [1.0])])
    assert again.weights() == {"b": 0.5, "a": 0.5}
    assert list(again.metrics()) == ["b", "a"]


def test_the_example_refuses_pools_that_it_does_not_know(tmp_path: Path) -> None:
    curriculum = easy_first(tmp_path, "a")
    with pytest.raises(KeyError):
        curriculum.observe([rewarded_group("b", [1.0])])
    with pytest.raises(CheckpointError, match="removed 'b'"):
        curriculum.load_state_dict({"pools": {"a": 0.0, "b": 0.0}})
