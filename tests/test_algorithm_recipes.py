"""One recipe for each algorithm, each the arm of the comparison that has its name."""

from pathlib import Path
from typing import Any, get_args

import pytest

from rlreason.config import CftConfig, GrpoConfig
from rlreason.config.algorithm import AdvantageName, AggregationName, LossName
from rlreason.config_file import (
    RECIPES,
    load_config,
    load_run_config,
    load_sweep,
    shipped_recipes,
)
from rlreason.preflight_cft import as_grpo
from rlreason.sweep.plan import SweepPlan, make_plan

OWN = ("grpo", "dapo")
"""Arms whose recipe of that name shows more than the arm: a curriculum, shaping by length."""
BEYOND = {"gdpo.yaml", "distillation.yaml"}
"""Recipes of algorithms that another reward or a teacher keeps out of the comparison."""


@pytest.fixture(scope="module")
def plan() -> SweepPlan:
    return make_plan(load_sweep("algorithms_ablation"), RECIPES / "algorithms_ablation.yaml")


def compared(config: GrpoConfig) -> dict[str, Any]:
    """All that makes the policy: everything but the names and the evaluation."""
    dumped = config.model_dump()
    run = dumped.pop("run")
    del dumped["evaluation"]
    return {"steps": run["steps"], **dumped}


def test_each_arm_is_the_recipe_of_its_name(plan: SweepPlan) -> None:
    arms = {trial.arm: trial.config for trial in plan.trials if trial.seed == 0}
    assert len(arms) == 12
    for arm, config in arms.items():
        assert f"{arm}.yaml" in shipped_recipes()
        if arm not in OWN:
            assert compared(load_config(arm)) == compared(config), arm


def test_all_have_the_budget_and_the_problems_of_the_default_run(plan: SweepPlan) -> None:
    default = load_config("grpo.yaml")
    recipes = [load_config(name) for name in sorted(BEYOND)]
    for config in [*(trial.config for trial in plan.trials), *recipes]:
        assert config.run.steps == default.run.steps
        assert config.pools == default.pools
        assert config.learner == default.learner
        for name in ("problems_per_step", "group_size", "max_completion_tokens"):
            assert getattr(config.rollout, name) == getattr(default.rollout, name)


def test_every_loss_and_aggregation_is_in_a_recipe(plan: SweepPlan) -> None:
    sections = [trial.config.algorithm for trial in plan.trials]
    sections += [load_config(name).algorithm for name in sorted(BEYOND)]
    assert {section.loss for section in sections} == set(get_args(LossName))
    assert {section.aggregation for section in sections} == set(get_args(AggregationName))
    # accepted is raft.yaml with another word; batch_normalized has no name of its own in the field.
    named = {section.advantage for section in sections}
    assert set(get_args(AdvantageName)) - named == {"accepted", "batch_normalized"}


def test_an_algorithm_recipe_says_only_what_makes_it_different() -> None:
    names = {f"{path.stem}.yaml" for path in RECIPES.glob("*.yaml") if _has_base(path)}
    assert names >= BEYOND
    for name in names:
        lines = (RECIPES / name).read_text(encoding="utf-8").splitlines()
        assert len([line for line in lines if not line.startswith("#")]) <= 16


def test_critique_fine_tuning_reports_the_likelihood_of_its_texts() -> None:
    # The surrogate has the same gradient at its first update, and always the value -1.
    config = load_run_config("cft.yaml")
    assert isinstance(config, CftConfig)
    assert as_grpo(config).algorithm.loss == "likelihood"


def _has_base(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return "\nkind: grpo\nbase:" in text
