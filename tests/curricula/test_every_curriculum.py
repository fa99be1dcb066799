"""Laws that hold for every curriculum that ships, whatever happens to it."""

import json
import math
import pkgutil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_groups import facts, passes, rewarded_group
from shipped import CASE_NAMES, CASES, NAMES, SHIPPED, build

import curricula
from rlreason.errors import CheckpointError, PluginError
from rlreason.plugins import build_plugin, load_plugin
from rlreason.types import Outcome, ScoredGroup

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
EACH = pytest.mark.parametrize(("cls", "options"), CASES, ids=CASE_NAMES)

OUTCOMES: list[Outcome] = ["ok", "unparseable", "timeout", "infra"]
POOLS = facts({"a": 10, "b": 20, "c": 5, "d": 1}, bounds=(-1.0, 3.0))
ROLLOUTS = st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 1 / 3, 3.0]), st.sampled_from(OUTCOMES))
GROUPS = st.builds(
    lambda pool, rollouts: rewarded_group(pool, [r[0] for r in rollouts], [r[1] for r in rollouts]),
    st.sampled_from(NAMES),
    st.lists(ROLLOUTS, min_size=2, max_size=6),
)
HISTORIES = st.lists(st.lists(GROUPS, max_size=5), max_size=6)


def test_the_cases_cover_every_curriculum_that_ships() -> None:
    modules = [module.name for module in pkgutil.iter_modules(curricula.__path__)]
    shipped = {
        name
        for name in modules
        for value in vars(load_module(name)).values()
        if isinstance(value, type) and value.__module__ == f"curricula.{name}"
        if hasattr(value, "observe")
    }
    assert shipped == set(SHIPPED)


def load_module(name: str) -> Any:
    return __import__(f"curricula.{name}", fromlist=["x"])


@EACH
@given(history=HISTORIES)
@PROPERTY
def test_weights_are_a_distribution_that_keeps_the_floor(
    cls: Any, options: dict[str, Any], history: list[list[ScoredGroup]]
) -> None:
    curriculum = build(cls, options, POOLS)
    floor = getattr(cls.Config(**options), "floor", 0.0)
    for step in [[], *history]:
        curriculum.observe(step)
        weights = curriculum.weights()
        assert tuple(weights) == NAMES
        assert all(type(weight) is float for weight in weights.values())
        assert math.fsum(weights.values()) == pytest.approx(1.0, abs=1e-12)
        assert min(weights.values()) >= floor / len(NAMES)
        terms = curriculum.metrics()
        assert {name: row["weight"] for name, row in terms.items()} == weights
        assert all(math.isfinite(value) for row in terms.values() for value in row.values())


@EACH
@given(history=HISTORIES, cut=st.integers(0, 6))
@PROPERTY
def test_a_restored_curriculum_continues_to_the_bit(
    cls: Any, options: dict[str, Any], history: list[list[ScoredGroup]], cut: int
) -> None:
    original, restored = build(cls, options, POOLS), build(cls, options, POOLS)
    for step in history[:cut]:
        original.observe(step)
    restored.observe([passes("b", 3), passes("c", 0)])  # must be forgotten by the load
    restored.load_state_dict(json.loads(json.dumps(original.state_dict(), allow_nan=False)))
    assert restored.metrics() == original.metrics()
    for step in history[cut:]:
        original.observe(step)
        restored.observe(step)
        assert restored.metrics() == original.metrics()
    assert restored.state_dict() == original.state_dict()


@EACH
@given(history=HISTORIES, order=st.permutations(NAMES))
@PROPERTY
def test_the_order_of_the_pools_only_reorders_the_weights(
    cls: Any, options: dict[str, Any], history: list[list[ScoredGroup]], order: list[str]
) -> None:
    if cls.__name__ in ("Stages", "OrdinalSchedule") and not {"stages", "ranks"} & set(options):
        options = {**options, **ordered_by_recipe(cls)}  # their default is the order of the recipe
    one = build(cls, options, POOLS)
    other = build(cls, options, {name: POOLS[name] for name in order})
    for step in history:
        one.observe(step)
        other.observe(step)
    assert list(other.weights()) == order
    assert other.weights() == pytest.approx(one.weights(), rel=1e-9, abs=1e-300)


def ordered_by_recipe(cls: Any) -> dict[str, Any]:
    if cls.__name__ == "Stages":
        return {"stages": [[name] for name in NAMES]}
    return {"ranks": {name: rank for rank, name in enumerate(NAMES)}}


@EACH
def test_a_state_does_not_change_with_the_curriculum_that_gave_it(
    cls: Any, options: dict[str, Any]
) -> None:
    curriculum = build(cls, options, POOLS)
    state, weights = curriculum.state_dict(), curriculum.weights()
    text = json.dumps(state)
    weights["a"] = 9.0
    curriculum.observe([passes(name, 4) for name in NAMES] * 3)
    assert json.dumps(state) == text
    assert sum(curriculum.weights().values()) == pytest.approx(1.0)
    restored = build(cls, options, POOLS)
    restored.load_state_dict(state)
    restored.observe([passes(name, 4) for name in NAMES] * 3)
    assert json.dumps(state) == text


@EACH
def test_an_unknown_pool_is_refused_and_nothing_of_the_step_is_remembered(
    cls: Any, options: dict[str, Any]
) -> None:
    curriculum = build(cls, options, POOLS)
    before = json.dumps(curriculum.state_dict())
    with pytest.raises(KeyError, match=r"typo/1.*'a', 'b', 'c', 'd'"):
        curriculum.observe([passes("a", 4), passes("typo", 4)])
    assert json.dumps(curriculum.state_dict()) == before


@EACH
def test_a_state_of_other_pools_is_refused_naming_what_changed(
    cls: Any, options: dict[str, Any]
) -> None:
    curriculum = build(cls, options, POOLS)
    state = curriculum.state_dict()
    changed = {**{name: entry for name, entry in state["pools"].items() if name != "b"}, "z": []}
    with pytest.raises(CheckpointError, match="added 'b' and removed 'z'"):
        curriculum.load_state_dict({**state, "pools": changed})


@EACH
def test_the_state_of_each_pool_stands_under_its_name(cls: Any, options: dict[str, Any]) -> None:
    curriculum = build(cls, options, POOLS)
    curriculum.observe([passes("c", 4)])
    assert list(curriculum.state_dict()["pools"]) == list(NAMES)
    fresh, state = build(cls, options, POOLS).state_dict(), curriculum.state_dict()
    different = [name for name in NAMES if fresh["pools"][name] != state["pools"][name]]
    assert different in ([], ["c"])


@pytest.mark.parametrize("module", sorted(SHIPPED))
@pytest.mark.parametrize(
    ("sizes", "message"), [({}, "at least one"), ({"a": 1, "b": 0}, r"\['b'\]")]
)
def test_pools_that_cannot_be_drawn_from_are_refused(
    module: str, sizes: dict[str, int], message: str
) -> None:
    cls, options = SHIPPED[module].cls, SHIPPED[module].options[0]
    path = f"curricula.{module}:{cls.__name__}"
    assert load_plugin(path, where="curriculum") is cls
    with pytest.raises(PluginError, match=message):
        build_plugin(path, options, facts(sizes), where="curriculum")


@pytest.mark.parametrize("module", sorted(SHIPPED))
def test_an_option_that_does_not_exist_is_refused(module: str) -> None:
    path = f"curricula.{module}:{SHIPPED[module].cls.__name__}"
    with pytest.raises(PluginError, match="unknown option 'windw'"):
        build_plugin(path, {"windw": 300}, POOLS, where="curriculum")


def test_a_message_about_thousands_of_pools_stays_short() -> None:
    cls = SHIPPED["uniform"].cls
    state = build(cls, {}, facts(f"pool{number:04}" for number in range(5000))).state_dict()
    with pytest.raises(CheckpointError, match="'pool0019' and 4980 more;"):
        build(cls, {}, facts(["other"])).load_state_dict(state)
