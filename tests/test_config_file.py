"""Recipes and overrides: what is found, what wins, and how every mistake is said."""

from pathlib import Path

import pytest

from rlreason.config_file import load_config, resolved_yaml, write_config
from rlreason.errors import ConfigError

GOOD = """\
kind: grpo
run: {name: trial, steps: 7}
model: {path: tiny-arithmetic}
pools:
- {name: add3, source: "arithmetic:add", options: {digits: 3}}
- name: add3.long
  source: arithmetic:add
  held_out: 5
scoring: {reward: "rewards.boxed_exact:BoxedExact"}
rollout:
  group_size: 4
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("mine.yaml")
    path.write_text(GOOD, encoding="utf-8")
    return path


def mistakes_of(text: str, *overrides: str) -> list[str]:
    Path("mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config("mine.yaml", overrides)
    return [line.strip() for line in str(caught.value).splitlines()]


def test_class_default_then_file_then_overrides(recipe: Path) -> None:
    config = load_config(str(recipe), ["run.steps=8", "run.steps=9"])
    assert config.run.steps == 9
    assert config.rollout.group_size == 4
    assert config.rollout.problems_per_step == 16


def test_override_values_are_yaml(recipe: Path) -> None:
    config = load_config(
        str(recipe),
        ["learner.learning_rate=1e-6", "run.name=no", "log.wandb={mode: offline}"],
    )
    assert config.learner.learning_rate == 1e-6
    assert config.run.name == "no"
    assert config.log.wandb == {"mode": "offline"}


def test_pools_are_overridden_by_name_even_with_a_dot_in_it(recipe: Path) -> None:
    config = load_config(
        str(recipe),
        ["pools.add3.held_out=32", "pools.add3.options.size=9", "pools.add3.long.held_out=6"],
    )
    assert [pool.held_out for pool in config.pools] == [32, 6]
    assert config.pools[0].options == {"digits": 3, "size": 9}


@pytest.mark.parametrize("key", ["curriculum.window", "scoring.reward.window"])
def test_a_plug_in_written_short_or_left_out_takes_options(recipe: Path, key: str) -> None:
    config = load_config(str(recipe), [f"{key}=30"])
    plugin = config.curriculum if key.startswith("curr") else config.scoring.reward
    assert plugin is not None
    assert plugin.options == {"window": 30}
    assert plugin.use in ("curricula.dump:Dump", "rewards.boxed_exact:BoxedExact")


def test_replacing_a_plug_in_drops_the_old_options(recipe: Path) -> None:
    config = load_config(
        str(recipe), ["curriculum.window=30", "curriculum=curricula.uniform:Uniform"]
    )
    assert config.curriculum.use == "curricula.uniform:Uniform"
    assert config.curriculum.options == {}


def test_all_mistakes_come_at_once_in_the_order_of_the_file(recipe: Path) -> None:
    bad = GOOD.replace("group_size: 4", "group_size: 1\n  temprature: 2\n  learning_rate: 1")
    bad = bad.replace("steps: 7", "stesp: 7").replace("held_out: 5", "held_out: -5")
    assert mistakes_of(bad, "evaluation.every=-1", "run.seed") == [
        "mine.yaml: 7 mistakes",
        "line 2: run.stesp: unknown field; did you mean 'steps'?",
        "line 8: pools.add3.long.held_out = -5: Input should be greater than or equal to 0",
        "line 11: rollout.group_size = 1: Input should be greater than or equal to 2",
        "line 12: rollout.temprature: unknown field; did you mean 'temperature'?",
        "line 13: rollout.learning_rate: unknown field; did you mean 'learner.learning_rate'?",
        "override 'run.seed': not of the form key.path=value, such as run.seed=1",
        "override 'evaluation.every=-1': evaluation.every = -1: "
        "Input should be greater than or equal to 0",
    ]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("steps: 7", "steps: 7, name: b", "line 2: run.name: written twice, first on line 2"),
        ("name: trial", "name: 1.10", "line 2: run.name = 1.1: Input should be a valid string;"),
        ("name: trial", "name: ../x", "line 2: run.name = '../x': a name has 1 to 128 letters"),
        ("model: {path: tiny-arithmetic}\n", "", "model: required, and missing"),
        ("{path: tiny-arithmetic}", "{}", "line 3: model.path: required, and missing"),
        ("  held_out: 5", "  source: x", "line 8: pools.1.source: written twice"),
        ("add3.long", "add3", "pools: the names ['add3'] occur twice"),
        ("add3.long", "../x", "line 6: pools[1].name = '../x': a name has 1 to 128"),
        ("kind: grpo", "kind: grop", "line 1: kind = 'grop': unknown kind; did you mean 'grpo'?"),
        ("kind: grpo", "kind: [1]", "line 1: kind = [1]: unknown kind; known: cft, grpo, sweep"),
        ("{path: tiny-arithmetic}", "null", "line 3: model = null: should be a mapping of fields"),
        ("{path: tiny", "!!python/name:os.system {path: tiny", "line 3: tag tag:yaml.org"),
        ("{name: trial", "{name: [trial", "not YAML"),
        (
            "group_size: 4",
            "problems_per_step: 1\nalgorithm: {updates_per_step: 2}",
            "algorithm.updates_per_step = 2 is more than rollout.problems_per_step = 1",
        ),
    ],
)
def test_a_mistake_names_line_field_value_and_rule(
    recipe: Path, before: str, after: str, message: str
) -> None:
    assert before in GOOD
    first, *rest = mistakes_of(GOOD.replace(before, after, 1))
    assert first == "mine.yaml: 1 mistake"
    assert len(rest) == 1
    assert message in rest[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pools.add4.held_out=1", "pools has no 'add4'; did you mean 'add3'?"),
        ("run.seed.x=1", "run.seed = 3 has no fields"),
        ("prompt.shots.a=1", "prompt.shots is a list without names; replace it whole"),
        ("run.name=@x", "not YAML: found character '@' that cannot start any token; quote"),
        ("run.name=!t x", "tag !t: tags are not read"),
        ("=3", "not of the form key.path=value"),
        ("run..seed=3", "not of the form key.path=value"),
        ("rollout={group_size: 1}", "rollout.group_size = 1: Input should be greater"),
        ("rollot.group_size=8", "rollot: unknown field; did you mean 'rollout'?"),
    ],
)
def test_a_mistake_in_an_override_quotes_the_override(
    recipe: Path, override: str, message: str
) -> None:
    text = GOOD.replace("steps: 7", "seed: 3") + "prompt: {shots: [[a, b]]}\n"
    _, mistake = mistakes_of(text, override)
    assert mistake.startswith(f"override {override!r}: ")
    assert message in mistake


def test_pools_that_are_all_faulty_are_not_also_called_empty(recipe: Path) -> None:
    _, *mistakes = mistakes_of(GOOD.replace("source", "sorce"))
    assert len(mistakes) == 4
    assert all("at least 1 item" not in mistake for mistake in mistakes)


def test_no_pools_at_all_is_a_mistake(recipe: Path) -> None:
    _, mistake = mistakes_of(GOOD, "pools=[]")
    assert "at least 1 item" in mistake


@pytest.mark.parametrize("content", [b"a: \xff", b"- a", b"just text"])
def test_a_file_that_is_no_recipe_is_refused_by_name(recipe: Path, content: bytes) -> None:
    recipe.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^mine\.yaml: "):
        load_config("mine.yaml")


def test_a_file_here_wins_over_the_shipped_recipe(recipe: Path) -> None:
    assert load_config("grpo.yaml").run.name != "trial"
    recipe.rename("grpo.yaml")
    assert load_config("grpo.yaml").run.name == "trial"


@pytest.mark.parametrize("name", ["grop.yaml", "grop", "../grpo.yaml", "\0", "/"])
def test_a_missing_recipe_lists_the_shipped_ones(recipe: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"shipped: .*\bgrpo\.yaml, ") as caught:
        load_config(name)
    if name.startswith("grop"):
        assert "did you mean 'grpo.yaml'?" in str(caught.value)


def test_the_resolved_config_reads_back_equal(recipe: Path) -> None:
    overrides = [
        "prompt.shots=[['3 + 4', '7']]",
        "prompt.system='no'",
        "learner.deepspeed={a: [1]}",
    ]
    config = load_config(str(recipe), [*overrides, "curriculum.window=30", "run.name='1e-6'"])
    write_config(config, Path("resolved.yaml"))
    assert load_config("resolved.yaml") == config
    assert "warmup_steps: 0" in resolved_yaml(config), "defaults are spelled out"
    assert sorted(path.name for path in Path().iterdir()) == ["mine.yaml", "resolved.yaml"]
