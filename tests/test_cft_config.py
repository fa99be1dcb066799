"""Recipes of kind cft: mistakes are named before anything starts, and nothing tests on its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rlreason.config import CftConfig
from rlreason.config_file import load_config, load_run_config, shipped_recipes
from rlreason.critique.stages import STAGES
from rlreason.errors import ConfigError, DataError
from rlreason.preflight_cft import preflight_cft


def values(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "cft",
        "model": {"path": "tiny-arithmetic-critic"},
        "pools": [
            {"name": "add2", "source": "arithmetic:add", "options": {"digits": 2, "size": 60},
             "validation": 4, "held_out": 4}
        ],
        "scoring": {"reward": "rewards.boxed_exact:BoxedExact"},
        "generators": [{"name": "itself", "model": "tiny-arithmetic-critic", "max_tokens": 60}],
        "candidates": {"template": "{problem}"},
        "teachers": [
            {"name": "checker", "use": "rlreason.data.arithmetic_teacher:ArithmeticTeacher"}
        ],
        "training": {"updates": 4, "template": "{problem}|{solution}?"},
        "evaluation": {"max_completion_tokens": 60},
    } | changes  # fmt: skip


def mistake(**changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        CftConfig.model_validate(values(**changes))
    return str(caught.value)


def pool(name: str, **changes: Any) -> Mapping[str, Any]:
    return {**values()["pools"][0], "name": name} | changes


def test_lengths_and_seeds_must_say_one_thing() -> None:
    assert "set one of updates and epochs" in mistake(training={})
    assert "set one of updates and epochs" in mistake(training={"updates": 4, "epochs": 2})
    assert "different numbers" in mistake(training={"updates": 4, "seeds": [1, 1]})


def test_what_would_select_or_test_on_nothing_is_refused() -> None:
    assert "no pool holds validation problems" in mistake(pools=[pool("a", validation=0)])
    assert "none holds test problems" in mistake(pools=[pool("a", held_out=0)])
    config = CftConfig.model_validate(
        values(pools=[pool("a", validation=0)], selection={"rule": "last"})
    )
    assert config.selection.rule == "last"


def test_names_and_references_are_checked() -> None:
    twice = [values()["teachers"][0]] * 2
    assert "teachers: the names ['checker'] occur twice" in mistake(teachers=twice)
    assert "seeds.pools = ['nope']: no such pools" in mistake(seeds={"pools": ["nope"]})
    assert "seeds.problems" in mistake(seeds={"choose": "given"})
    assert "a file cannot answer" in mistake(teachers=[{"name": "f", "file": "x.jsonl"}])
    assert "mismatch_limit" in mistake(learner={"mismatch_limit": 0.1})
    assert "leave backend at inline" in mistake(cluster={"backend": "ray"})


def test_the_kinds_of_runs_are_told_apart(tmp_path: Path) -> None:
    assert isinstance(load_run_config("cft.yaml"), CftConfig)
    with pytest.raises(ConfigError, match="only a run of kind grpo"):
        load_config("cft.yaml")


def test_a_pool_is_divided_into_disjoint_parts() -> None:
    plan = preflight_cft(CftConfig.model_validate(values()))
    parts = [{p.id for p in side["add2"]} for side in (plan.seed_pools, plan.validation, plan.test)]
    assert [len(part) for part in parts] == [52, 4, 4]
    assert len(set().union(*parts)) == 60


def test_a_test_problem_that_validates_elsewhere_stops_the_run() -> None:
    both = [pool("a", role="validation"), pool("b")]
    with pytest.raises(DataError, match=r"4 validation problems are also test problems"):
        preflight_cft(CftConfig.model_validate(values(pools=both)))


def test_a_seed_problem_of_the_test_stops_the_run() -> None:
    config = CftConfig.model_validate(values())
    tested = preflight_cft(config).test["add2"][0].prompt
    rows = {"name": "mine", "source": "arithmetic:add", "role": "seeds",
            "options": {"digits": 2, "size": 60}}  # fmt: skip
    seeds = {"choose": "given", "problems": [f"mine/{str(tested).removeprefix('add ')}"]}
    with pytest.raises(DataError, match="is also a validation or test problem"):
        preflight_cft(CftConfig.model_validate(values(pools=[pool("add2"), rows], seeds=seeds)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generators": [{"name": "g", "model": "no-such-model"}]}, "generators.g.model"),
        ({"teachers": [{"name": "t", "endpoint": "http://127.0.0.1:9/v1", "model": "m",
                        "key_from": "NO_SUCH_KEY"}]}, "NO_SUCH_KEY"),
        ({"seeds": {"choose": "given", "problems": ["add2/nope"]}}, "seeds.problems"),
        ({"critiques": {"template": "{problem} alone"}}, "critiques.template"),
        ({"evaluation": {"max_completion_tokens": 999}}, "^evaluation.max_completion_tokens = 999"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_before_anything_starts(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        preflight_cft(CftConfig.model_validate(values(**changes)))


def test_problems_that_may_become_seeds_are_checked_too(tmp_path: Path) -> None:
    """Which of them do is known only when the model has tried them."""
    chosen = {"choose": "pass_rate", "among": 5}
    local = [{"name": "g", "model": "tiny-arithmetic", "max_tokens": 50}]
    preflight_cft(CftConfig.model_validate(values(seeds=chosen, generators=local)))
    local[0]["max_tokens"] = 250
    with pytest.raises(
        ConfigError, match=r"^generators\.g\.max_tokens = 250: with the longest prompt of 9"
    ):
        preflight_cft(CftConfig.model_validate(values(seeds=chosen, generators=local)))
    path = tmp_path / "seeds.jsonl"
    path.write_text('{"id": "p1", "prompt": "add 1+22", "answer": "23"}\n')
    odd = {"name": "odd", "source": str(path), "role": "seeds"}
    asked = values(pools=[pool("add2"), odd], seeds={**chosen, "pools": ["odd"]})
    with pytest.raises(DataError, match=r"^teachers\.checker: problem odd/p1: .* reads add, sum"):
        preflight_cft(CftConfig.model_validate(asked))


def test_stages_are_in_the_order_of_the_paper() -> None:
    assert STAGES == (
        "seeds", "candidates", "critiques", "filter", "train", "evaluate", "report"
    )  # fmt: skip


def test_shipped_recipes_of_critiques_parse() -> None:
    names = [name for name in shipped_recipes() if name.startswith("cft")]
    assert len(names) == 4
    assert all(isinstance(load_run_config(name), CftConfig) for name in names)


def test_the_gpu_recipe_has_the_settings_of_the_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data is the user's, so a dry run takes rows of ours, and the tiny model's path."""
    config = load_run_config("cft_qwen_math.yaml")
    assert isinstance(config, CftConfig)
    training, learner = config.training, config.learner
    assert (training.batch_size, training.updates, training.checkpoint_every) == (512, 50, 10)
    assert (learner.learning_rate, learner.schedule, learner.weight_decay) == (5e-6, "cosine", 0.05)
    assert learner.warmup_steps == 0.1 * training.updates
    assert (config.candidates.samples, config.filter.wanted) == (10, 600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-test")
    for number, name in enumerate(("seed", "math_validation", "math_500")):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"prompt": "add {number}+1", "answer": "1"}}\n')
    tiny = ["model.path=tiny-arithmetic", "prompt.system=null"]
    for generator in config.generators:
        tiny += [
            f"generators.{generator.name}.{field}"
            for field in ("model=tiny-arithmetic", "max_tokens=99")
        ]
    tiny += ["candidates.template='{problem}'", "evaluation.max_completion_tokens=200"]
    overridden = load_run_config("cft_qwen_math.yaml", tiny)
    assert isinstance(overridden, CftConfig)
    plan = preflight_cft(overridden)
    assert [len(side) for side in (plan.seed_pools, plan.validation, plan.test)] == [1, 1, 1]
    table = plan.render(overridden)
    assert "50 updates of 512 examples" in str(table.title)
    assert table.row_count == len(overridden.pools) + len(overridden.generators) + 1
