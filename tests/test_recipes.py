"""Every shipped recipe: it parses, says what it is, and keeps what its comment promises."""

import json
import shutil
from pathlib import Path

import pytest

from rlreason.config_file import (
    RECIPES,
    load_config,
    load_run_config,
    load_sweep,
    shipped_recipes,
)
from rlreason.data.pools import split_held_out
from rlreason.data.problems import read_problems
from rlreason.data.sources import open_source
from rlreason.models import resolve_model
from rlreason.preflight import preflight
from rlreason.sweep.plan import make_plan
from rlreason.types import Problem

ALL = sorted(shipped_recipes())
SWEEPS = sorted(
    name for name, path in shipped_recipes().items() if "kind: sweep" in path.read_text()
)
RUNS = sorted(set(ALL) - set(SWEEPS))


def test_the_recipes_of_the_readme_are_shipped() -> None:
    expected = {
        "grpo.yaml",
        "grpo_uniform.yaml",
        "dapo.yaml",
        "grpo_smollm2.yaml",
        "grpo_qwen_math.yaml",
    }
    assert expected <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_parses_under_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    load = load_sweep if name in SWEEPS else load_run_config
    assert load(name) == load(name.removesuffix(".yaml"))


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_opens_with_what_it_shows_and_where_it_runs(name: str) -> None:
    text = (RECIPES / name).read_text(encoding="utf-8")
    comment = "".join(text.partition("\nkind:")[0].splitlines())
    assert text.splitlines()[0].endswith("."), "the first line is the title in `rlreason init`"
    assert f"rlreason {'sweep' if name in SWEEPS else 'train'} {name}" in comment
    assert "CPU" in comment or "GPU" in comment


def test_recipes_have_run_folders_of_their_own() -> None:
    names = [load_run_config(name).run.name for name in RUNS]
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


def test_the_ablation_compares_six_curricula_on_the_learnable_pools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan(load_sweep("curriculum_ablation"), RECIPES / "curriculum_ablation.yaml")
    arms = "uniform proportional dump_paper dump_robust learnability thompson"
    assert (plan.arms, plan.baseline) == (tuple(arms.split()), "uniform")
    assert len(plan.trials) == 6 * 5
    assert {field.partition(".")[0] for field in plan.differences()} == {"curriculum"}
    default = load_config("grpo.yaml").model_dump()
    trial = plan.trials[0].config.model_dump()
    del default["rollout"]["problems_per_step"], trial["rollout"]["problems_per_step"]
    for section in ("run", "curriculum", "evaluation"):
        del default[section], trial[section]
    assert trial == default


def test_the_dump_recipe_has_the_papers_settings() -> None:
    config = load_config("kk_dump.yaml")
    assert [pool.options["n_people"] for pool in config.pools] == list(range(3, 15))
    assert {pool.options["size"] - pool.held_out for pool in config.pools} == {900}
    assert {pool.held_out for pool in config.pools} == {100}
    rollout, algorithm = config.rollout, config.algorithm
    assert (rollout.problems_per_step, rollout.group_size, rollout.temperature) == (128, 16, 1.0)
    assert (rollout.max_completion_tokens, config.prompt.max_tokens) == (20480, 4096)
    assert rollout.replacement
    assert (algorithm.updates_per_step, algorithm.clip_low, algorithm.clip_high) == (4, 0.2, 0.2)
    assert (algorithm.kl, algorithm.kl_estimator, algorithm.entropy_bonus) == (0.001, "k3", 0.001)
    assert (config.learner.learning_rate, config.learner.schedule) == (1e-6, "constant")
    assert config.learner.max_grad_norm == 1.0
    assert (config.evaluation.every, config.evaluation.samples) == (10, 0)
    assert config.curriculum.options == {"setting": "paper", "window": 300, "temperature": 0.1}


def test_the_dump_recipe_passes_its_dry_run_with_few_small_puzzles(tmp_path: Path) -> None:
    pytest.importorskip("reasoning_gym")
    few = [f"pools.kk{count}.options={{n_people: 3, size: 12}}" for count in range(3, 15)]
    few += [f"pools.kk{count}.held_out=2" for count in range(3, 15)]
    small = [f"model.path={long_model(tmp_path)}", "prompt.system=null"]
    plan = preflight(load_config("kk_dump.yaml", [*few, *small]))
    assert [len(problems) for problems in plan.train.values()] == [10] * 12
    assert plan.max_len > 20480


def long_model(folder: Path) -> Path:
    """The shipped model as if it took long texts; a recipe's own may be on a hub."""
    model = folder / "long"
    shutil.copytree(resolve_model("tiny-arithmetic"), model)
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(settings | {"max_position_embeddings": 32768}))
    return model


def test_the_dapo_recipe_has_all_of_dapo_on_the_pools_of_the_default_run() -> None:
    dapo = load_config("dapo.yaml")
    assert dapo.pools == load_config("grpo.yaml").pools
    algorithm, refill = dapo.algorithm, dapo.rollout.refill
    assert (algorithm.clip_low, algorithm.clip_high) == (0.2, 0.28)
    assert (algorithm.aggregation, algorithm.mask_truncated, algorithm.kl) == (
        "token_mean",
        True,
        0,
    )
    assert algorithm.updates_per_step > 1  # else no ratio leaves 1 and clip-higher does nothing
    assert refill is not None
    reward = dapo.scoring.reward
    assert reward is not None
    parts = reward.options["parts"]
    assert refill.part in parts
    assert parts["short"]["use"] == "rewards.overlong:Overlong"
    assert parts["short"]["max_tokens"] == dapo.rollout.max_completion_tokens
    assert dapo.scoring.evaluation_reward is not None
    assert dapo.scoring.evaluation_reward.use == parts["correct"]["use"]


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


def test_the_gpu_recipe_passes_every_check_before_its_heavy_start(tmp_path: Path) -> None:
    pytest.importorskip("reasoning_gym")
    few = [f"pools.kk{n}.options.size={8 if n < 6 else 2}" for n in range(3, 15)]
    held_out = [f"pools.kk{n}.held_out=1" for n in range(3, 15)]
    overrides = [f"model.path={long_model(tmp_path)}", "prompt.system=null", *few, *held_out]
    plan = preflight(load_config("grpo_qwen_math.yaml", overrides))
    assert [len(plan.train[f"kk{n}"]) for n in (3, 14)] == [7, 1]
    assert plan.max_len > 4096
    assert {reward.use for reward in plan.rewards.values()} == {
        "rewards.knights_knaves:KnightsKnaves"
    }


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
