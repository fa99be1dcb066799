"""Recipes that say only how they differ from another one."""

from pathlib import Path

import pytest

from rlreason.config_file import load_config, load_sweep, whole_recipe
from rlreason.errors import ConfigError
from rlreason.sweep.folder import SweepFolder
from rlreason.sweep.plan import make_plan

GROUND = """\
run: {name: ground, steps: 7}
model: {path: tiny-arithmetic}
pools:
- {name: add3, source: "arithmetic:add", held_out: 9}
- {name: add4, source: "arithmetic:add", held_out: 9}
curriculum: {use: "curricula.dump:Dump", window: 300}
scoring: {reward: "rewards.boxed_exact:BoxedExact"}
rollout:
  group_size: 4
  max_completion_tokens: 32
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ground.yaml").write_text(GROUND, encoding="utf-8")


def write(text: str, name: str = "mine.yaml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(text), overrides)
    return str(caught.value)


def test_fields_are_merged_one_by_one_and_overrides_come_last() -> None:
    mine = write("base: ground.yaml\nrun: {name: mine}\nrollout: {group_size: 6}\n")
    config = load_config(mine, ["run.steps=8"])
    assert (config.run.name, config.run.steps) == ("mine", 8)
    assert (config.rollout.group_size, config.rollout.max_completion_tokens) == (6, 32)


def test_a_list_and_a_plugin_replace_those_of_the_base_whole() -> None:
    mine = write(
        "base: ground.yaml\n"
        'pools: [{name: add5, source: "arithmetic:add"}]\n'
        'curriculum: {use: "curricula.uniform:Uniform"}\n'
    )
    config = load_config(mine)
    assert [pool.name for pool in config.pools] == ["add5"]
    assert (config.curriculum.use, config.curriculum.options) == ("curricula.uniform:Uniform", {})


def test_a_plugins_options_can_be_changed_without_naming_it_again() -> None:
    config = load_config(write("base: ground.yaml\ncurriculum: {window: 7}\n"))
    assert config.curriculum.use == "curricula.dump:Dump"
    assert config.curriculum.options == {"window": 7}


def test_a_base_may_have_a_base_and_the_nearest_wins() -> None:
    write("base: ground.yaml\nrun: {steps: 8, seed: 3}\n", "middle.yaml")
    config = load_config(write("base: middle.yaml\nrun: {steps: 9}\n"))
    assert (config.run.name, config.run.steps, config.run.seed) == ("ground", 9, 3)


def test_a_base_is_found_beside_its_recipe_before_the_shipped_ones(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    write(GROUND.replace("steps: 7", "steps: 77"), str(folder / "grpo.yaml"))
    write("base: grpo.yaml\n", str(folder / "mine.yaml"))
    assert load_config(str(folder / "mine.yaml")).run.steps == 77
    assert load_config(write("base: grpo.yaml\n")).run.steps == 100


def test_a_mistake_names_the_file_and_line_that_it_stands_in() -> None:
    write(GROUND.replace("group_size: 4", "group_size: 1"), "ground.yaml")
    said = refusal("base: ground.yaml\nrun: {stepz: 3}\n")
    assert "line 2: run.stepz: unknown field" in said
    assert "line 9 of ground.yaml: rollout.group_size = 1" in said
    # Replaced by what the recipe says itself, the base's line is no longer to blame.
    said = refusal("base: ground.yaml\nrollout: {group_size: 0}\n")
    assert "line 2: rollout.group_size = 0" in said
    assert "of ground.yaml" not in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("base: mine.yaml\n", "based on itself"),
        ("base: [ground.yaml]\n", "should name a recipe"),
        ("base: grund.yaml\n", "no such file"),
        ("kind: cft\nbase: ground.yaml\n", "base = ground.yaml is of kind 'grpo'"),
    ],
)
def test_what_cannot_be_a_base_is_refused(text: str, reason: str) -> None:
    assert reason in refusal(text)


def test_a_doubled_key_in_the_base_is_a_mistake_still() -> None:
    write(GROUND + "run: {name: twice}\n", "ground.yaml")
    assert "base ground.yaml: line 11" in refusal("base: ground.yaml\n")


def test_the_whole_recipe_stands_alone() -> None:
    mine = Path(write("base: ground.yaml\nrun: {name: mine}\n"))
    expected = load_config(str(mine))
    text = whole_recipe(mine)
    Path("ground.yaml").unlink()
    assert load_config(write(text, "alone.yaml")) == expected
    plain = Path(write(GROUND + "# a comment\n", "plain.yaml"))
    assert whole_recipe(plain) == plain.read_text(encoding="utf-8")


def test_a_sweep_can_build_on_a_recipe_that_has_a_base() -> None:
    write("base: ground.yaml\nrun: {steps: 8}\n")
    sweep = "kind: sweep\nname: s\nbase: mine.yaml\naxes: {rollout.group_size: [4, 6]}\n"
    sweep += "baseline: {rollout.group_size: 4}\nseeds: [0, 1]\nmetrics: {last: 1}\n"
    plan = make_plan(load_sweep(write(sweep, "sweep.yaml")), Path("sweep.yaml"))
    assert {trial.config.run.steps for trial in plan.trials} == {8}
    with SweepFolder(plan).open():
        Path("ground.yaml").unlink()
    # The folder tells everything wherever it is moved, without the files that it came from.
    again = make_plan(load_sweep(str(plan.folder / "sweep.yaml")), plan.folder / "sweep.yaml")
    assert again.trials == plan.trials
