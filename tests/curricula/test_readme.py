"""The curriculum that the README tells a user to write does what it says."""

import re
from pathlib import Path

import pytest
from scored_groups import scored_group

import curricula
from rlreason.errors import CheckpointError
from rlreason.plugins import build_plugin
from rlreason.protocols import Curriculum


def easy_first(folder: Path, **sizes: int) -> Curriculum:
    readme = Path(curricula.__file__).with_name("README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (folder / "mine.py").write_text(code, encoding="utf-8")
    built: Curriculum = build_plugin(
        f"{folder / 'mine.py'}:EasyFirst", {"goal": -0.5}, sizes, where="curriculum"
    )
    return built


def test_the_example_moves_on_when_a_pool_is_solved_and_resumes(tmp_path: Path) -> None:
    curriculum = easy_first(tmp_path, a=1, b=2)
    assert curriculum.weights() == {"a": 0.5, "b": 0.5}
    state = {"means": {"b": -1.0, "a": 1.0}}
    curriculum.load_state_dict(state)
    assert curriculum.weights() == {"a": 0.0, "b": 1.0}
    assert list(curriculum.metrics()) == ["a", "b"]
    curriculum.observe([scored_group("b", [1.0] * 100)])  # scores of 0 pull the mean up to 0
    assert curriculum.weights() == {"a": 0.5, "b": 0.5}
    assert curriculum.state_dict() != state


def test_the_example_refuses_pools_that_it_does_not_know(tmp_path: Path) -> None:
    curriculum = easy_first(tmp_path, a=1)
    with pytest.raises(KeyError):
        curriculum.observe([scored_group("b", [1.0])])
    with pytest.raises(CheckpointError, match="removed 'b'"):
        curriculum.load_state_dict({"means": {"a": 0.0, "b": 0.0}})
