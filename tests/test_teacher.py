"""The teacher of a distillation, and what a greedy baseline asks of a reward, before the start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from rlreason.config import GrpoConfig
from rlreason.errors import ConfigError
from rlreason.models import resolve_model
from rlreason.preflight import preflight
from rlreason.teacher import find_teacher

MODEL = resolve_model("tiny-arithmetic")
DISTILL = {"loss": "distillation", "teacher": "tiny-arithmetic"}


def config(algorithm: dict[str, Any], **changes: Any) -> GrpoConfig:
    pool = {"name": "add3", "source": "arithmetic:add", "options": {"digits": 3, "size": 20}}
    values = {
        "model": {"path": "tiny-arithmetic"},
        "pools": [pool | {"held_out": 2, "reward": "rewards.boxed_exact:BoxedExact"}],
        "rollout": {"max_completion_tokens": 60},
        "algorithm": algorithm,
    }
    return GrpoConfig.model_validate(values | changes)


def find(teacher: str | Path, max_len: int = 100) -> Path | str | None:
    recipe = config({"loss": "distillation", "teacher": str(teacher)})
    return find_teacher(recipe, AutoTokenizer.from_pretrained(MODEL), max_len)


def copy_of_the_model(folder: Path) -> Path:
    return Path(shutil.copytree(MODEL, folder / "teacher"))


def test_a_teacher_of_the_same_tokens_is_found(tmp_path: Path) -> None:
    assert find("tiny-arithmetic") == MODEL
    assert find(copy_of_the_model(tmp_path)) == tmp_path / "teacher"
    assert preflight(config(DISTILL)).teacher == MODEL
    assert preflight(config({})).teacher is None


def test_a_teacher_that_numbers_tokens_otherwise_is_refused_by_name(tmp_path: Path) -> None:
    folder = copy_of_the_model(tmp_path)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = tokenizer["model"]["vocab"]
    words["7"], words["8"] = words["8"], words["7"]
    path.write_text(json.dumps(tokenizer))
    told = rf"2 tokens have other ids, '7' for one is {words['7']} there and {words['8']} here"
    with pytest.raises(ConfigError, match=told):
        find(folder)


def test_a_teacher_that_is_not_there_is_named_by_its_own_field() -> None:
    with pytest.raises(ConfigError, match=r"algorithm.teacher = 'tiny-arithmetik': .*did you mean"):
        find("tiny-arithmetik")


def test_a_teacher_that_takes_only_shorter_sequences_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"takes 256 tokens, but .* up to 257"):
        find("tiny-arithmetic", max_len=257)
    find("tiny-arithmetic", max_len=256)


@pytest.mark.parametrize(
    ("algorithm", "changes", "words"),
    [
        ({"loss": "distillation"}, {}, "a teacher need each other"),
        ({"teacher": "tiny-arithmetic"}, {}, "loss = clipped and algorithm.teacher = tiny"),
        (DISTILL, {"rollout": {"refill": {"max_extra": 1}}}, "leave refill out"),
    ],
)
def test_half_a_distillation_is_refused(algorithm: Any, changes: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config(algorithm, **changes)


def test_a_reward_of_whole_groups_cannot_score_a_greedy_baseline() -> None:
    recipe = config({"advantage": "remax"}, evaluation={"every": 0})
    values = recipe.model_dump()
    values["pools"][0]["reward"] = "rewards.majority_vote:MajorityVote"
    with pytest.raises(ConfigError, match=r"pools.add3: its reward scores whole groups.*= remax"):
        preflight(GrpoConfig.model_validate(values))
