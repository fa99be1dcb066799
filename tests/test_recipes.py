"""Every shipped recipe: it parses, says what it is, and keeps what its comment promises."""

from pathlib import Path

import pytest

from rlreason.config_file import RECIPES, load_config, load_run_config, shipped_recipes
from rlreason.data.pools import split_held_out
from rlreason.data.problems import read_problems
from rlreason.data.sources import open_source
from rlreason.types import Problem

ALL = sorted(shipped_recipes())


def test_the_recipes_of_the_readme_are_shipped() -> None:
    expected = {"grpo.yaml", "grpo_uniform.yaml", "grpo_smollm2.yaml", "grpo_qwen_math.yaml"}
    assert expected <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_parses_under_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_run_config(name) == load_run_config(name.removesuffix(".yaml"))


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_opens_with_what_it_shows_and_where_it_runs(name: str) -> None:
    text = (RECIPES / name).read_text(encoding="utf-8")
    comment = "".join(text.partition("\nkind:")[0].splitlines())
    assert text.splitlines()[0].endswith("."), "the first line is the title in `rlreason init`"
    assert f"rlreason train {name}" in comment
    assert "CPU" in comment or "GPU" in comment


def test_recipes_have_run_folders_of_their_own() -> None:
    names = [load_run_config(name).run.name for name in ALL]
    assert len(set(names)) == len(names)


def test_the_uniform_recipe_differs_from_the_default_in_its_curriculum_alone() -> None:
    default = load_config("grpo.yaml").model_dump()
    uniform = load_config("grpo_uniform.yaml").model_dump()
    assert default.pop("curriculum") != uniform.pop("curriculum")
    assert default["run"].pop("name") != uniform["run"].pop("name")
    assert default == uniform


def test_the_default_run_has_solved_learnable_and_too_hard_pools() -> None:
    pools = {pool.name: pool for pool in load_config("grpo.yaml").pools}
    assert " ".join(pools) == (
        "add1 sum2 max3 rev3 add3 add4 add5 sum6 sum12 max10 add8 sum24 rev6"
    )
    for name, pool in pools.items():
        task, digits = name[:3], int(name[3:])
        assert (pool.source, pool.options["digits"]) == (f"arithmetic:{task}", digits)


def test_the_gpu_recipe_has_the_settings_of_the_paper() -> None:
    config = load_config("grpo_qwen_math.yaml")
    assert [pool.options["n_people"] for pool in config.pools] == list(range(3, 15))
    assert (config.rollout.problems_per_step, config.rollout.group_size) == (128, 16)
    assert config.rollout.replacement
    assert config.algorithm.updates_per_step == 4
    assert (config.algorithm.kl, config.algorithm.kl_estimator) == (0.001, "k3")
    assert (config.algorithm.clip_low, config.algorithm.clip_high) == (0.2, 0.2)
    assert config.learner.learning_rate == 1e-6
    assert config.curriculum.options == {"window": 300, "temperature": 0.1}
    assert config.scoring.reward is not None
    assert config.scoring.reward.use == "rewards.knights_knaves:KnightsKnaves"
    assert all(tag in str(config.prompt.system) for tag in ("<think>", "</answer>"))


def test_the_smollm2_recipe_holds_pairs_of_digits_out_of_all_its_pools_alike() -> None:
    pytest.importorskip("reasoning_gym")
    config = load_config("grpo_smollm2.yaml")
    assert config.prompt.system is None
    assert config.prompt.shots == (
        ("Calculate 3 + 4.", "\\boxed{7}"),
        ("Calculate 5 * 2.", "\\boxed{10}"),
    )
    trained, held_out = set(), set()
    for pool in config.pools:
        source = open_source(pool, where=pool.name)
        problems = read_problems(source, pool.name, needs_answer=True)
        train, held = split_held_out(problems, pool.held_out)
        assert len(train) + len(held) == 96  # 100 ordered pairs less those of the two shots
        assert len(held) >= 36
        trained |= {operands(problem) for problem in train}
        held_out |= {operands(problem) for problem in held}
    assert not trained & held_out
    pairs = {(str(a), str(b)) for a in range(10) for b in range(a, 10)}
    assert trained | held_out == pairs - {("3", "4"), ("2", "5")}


def operands(problem: Problem) -> tuple[str, ...]:
    """The two numbers of ``Calculate 3 * 4.``, smaller first: 4 * 3 is the same pair."""
    _, left, _, right = str(problem.prompt).removesuffix(".").split()
    return tuple(sorted((left, right)))
