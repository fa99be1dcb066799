"""Uniform and Proportional: what the baselines give, and what all curricula refuse alike."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_groups import scored_group

from curricula.dump import Dump
from curricula.proportional import Proportional
from curricula.uniform import Uniform
from rlreason.errors import CheckpointError, PluginError
from rlreason.plugins import build_plugin

CURRICULA = [Uniform, Proportional, Dump]
SIZES = {"small": 124, "large": 7473}


def build(cls: Any, sizes: dict[str, int]) -> Any:
    return cls(sizes, cls.Config())


def test_uniform_ignores_pool_sizes() -> None:
    assert build(Uniform, SIZES).weights() == {"small": 0.5, "large": 0.5}


def test_proportional_follows_pool_sizes() -> None:
    assert build(Proportional, {"a": 1, "b": 3, "c": 4}).weights() == {
        "a": 0.125,
        "b": 0.375,
        "c": 0.5,
    }


@pytest.mark.parametrize("cls", [Uniform, Proportional])
@given(sizes=st.dictionaries(st.text(min_size=1), st.integers(1, 10**9), min_size=1, max_size=30))
@settings(deadline=None, derandomize=True)
def test_fixed_weights_are_a_distribution_in_the_order_of_the_recipe(
    cls: Any, sizes: dict[str, int]
) -> None:
    weights = build(cls, sizes).weights()
    assert list(weights) == list(sizes)
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert min(weights.values()) > 0


@pytest.mark.parametrize("cls", [Uniform, Proportional])
def test_observations_do_not_move_fixed_weights(cls: Any) -> None:
    curriculum = build(cls, SIZES)
    before = curriculum.weights()
    curriculum.observe([scored_group("small", [1.0, -1.0])])
    assert curriculum.weights() == before


@pytest.mark.parametrize("cls", CURRICULA)
def test_changing_the_returned_weights_does_not_change_the_curriculum(cls: Any) -> None:
    curriculum = build(cls, SIZES)
    curriculum.weights()["small"] = 9.0
    assert sum(curriculum.weights().values()) == pytest.approx(1.0)


@pytest.mark.parametrize("cls", CURRICULA)
def test_metrics_hold_the_weight_of_every_pool(cls: Any) -> None:
    curriculum = build(cls, SIZES)
    assert {
        name: row["weight"] for name, row in curriculum.metrics().items()
    } == curriculum.weights()


@pytest.mark.parametrize("cls", CURRICULA)
def test_an_unknown_pool_is_a_key_error_naming_the_problem(cls: Any) -> None:
    with pytest.raises(KeyError, match=r"smal/1.*'large', 'small'"):
        build(cls, SIZES).observe([scored_group("smal", [1.0, -1.0])])


@pytest.mark.parametrize("cls", CURRICULA)
def test_a_state_is_taken_back_by_the_same_pools_in_any_order(cls: Any) -> None:
    state = json.loads(json.dumps(build(cls, SIZES).state_dict()))
    restored = build(cls, dict(reversed(SIZES.items())))
    restored.load_state_dict(state)
    assert list(restored.weights()) == ["large", "small"]


@pytest.mark.parametrize("cls", CURRICULA)
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"small": 1}, "removed 'large';"),
        ({"small": 1, "large": 1, "new": 1}, "added 'new';"),
        ({"small": 1, "big": 1}, "added 'big' and removed 'large'"),
    ],
)
def test_a_state_of_other_pools_is_refused(cls: Any, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        build(cls, sizes).load_state_dict(build(cls, SIZES).state_dict())


def test_a_message_about_thousands_of_pools_stays_short() -> None:
    state = build(Uniform, {f"pool{number:04}": 1 for number in range(5000)}).state_dict()
    with pytest.raises(CheckpointError, match="'pool0019' and 4980 more;"):
        build(Uniform, {"other": 1}).load_state_dict(state)


@pytest.mark.parametrize("name", ["uniform:Uniform", "proportional:Proportional", "dump:Dump"])
@pytest.mark.parametrize(
    ("sizes", "message"), [({}, "at least one pool"), ({"a": 1, "b": 0}, r"\['b'\]")]
)
def test_pools_that_cannot_be_drawn_from_are_refused(
    name: str, sizes: dict[str, int], message: str
) -> None:
    with pytest.raises(PluginError, match=message):
        build_plugin(f"curricula.{name}", {}, sizes, where="curriculum")


@pytest.mark.parametrize("name", ["uniform:Uniform", "proportional:Proportional"])
def test_baselines_refuse_options(name: str) -> None:
    with pytest.raises(PluginError, match="unknown option 'window'"):
        build_plugin(f"curricula.{name}", {"window": 300}, SIZES, where="curriculum")
