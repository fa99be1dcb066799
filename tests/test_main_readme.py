"""The code in README.md runs as it stands there."""

import re
from pathlib import Path

import pytest

from rlreason.plugins import build_plugin
from rlreason.types import PoolFacts, Problem

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def plugin_file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(BLOCKS[request.param])
    return path


@pytest.mark.parametrize("plugin_file", [0], indirect=True)
def test_the_reward_scores(plugin_file: Path) -> None:
    reward = build_plugin(f"{plugin_file}:EndsRight", {}, where="reward")
    problem = Problem(id="1", pool="p", prompt="1+1", answer="2")
    assert [reward(problem, text) for text in ("so 2 ", "so 3", "")] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("plugin_file", [1], indirect=True)
def test_the_curriculum_alternates_and_resumes(plugin_file: Path) -> None:
    make = dict.fromkeys("ab", PoolFacts(size=5, reward_bounds=(0.0, 1.0)))
    curriculum = build_plugin(f"{plugin_file}:Alternate", {}, make, where="curriculum")
    assert curriculum.weights() == {"a": 1.0, "b": 0.0}
    curriculum.observe([])
    again = build_plugin(f"{plugin_file}:Alternate", {}, make, where="curriculum")
    again.load_state_dict(curriculum.state_dict())
    assert again.weights() == curriculum.weights() == {"a": 0.0, "b": 1.0}


def test_every_file_that_the_readme_names_exists() -> None:
    text = README.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:rlreason|rewards|curricula|scripts|tests)/[\w./-]*)", text))
    assert named
    missing = [name for name in named if not (README.parent / name.rstrip("/.")).exists()]
    assert missing == []
