"""Dump's named settings and its two statistics."""

import json
import statistics
from typing import Any

import pytest
from pydantic import ValidationError
from scored_groups import facts, passes, scored_group

from curricula.dump import Dump, DumpConfig
from rlreason.errors import CheckpointError


def dump(**options: Any) -> Dump:
    return Dump(facts("ab"), DumpConfig(**options))


def options_of(**given: Any) -> dict[str, Any]:
    return DumpConfig(**given).model_dump(exclude={"setting"})


def test_the_paper_setting_is_the_released_codes_and_the_default() -> None:
    expected = {
        "statistic": "absolute_advantage",
        "window": 300,
        "temperature": 0.1,
        "exploration": 1.0,
        "count_unit": "rollout",
        "floor": 0.0,
    }
    assert options_of() == options_of(setting="paper") == expected


def test_the_robust_setting_is_what_it_was_when_this_test_was_written() -> None:
    # Pinned: if this changes, a run that is resumed after an upgrade becomes another run.
    assert options_of(setting="robust") == {
        "statistic": "reward_spread",
        "window": 64,
        "temperature": 0.1,
        "exploration": 0.35,
        "count_unit": "prompt",
        "floor": 0.1,
    }


def test_stated_options_win_over_the_setting() -> None:
    mixed = options_of(setting="robust", window=300, floor=0.0)
    assert mixed == options_of(setting="robust") | {"window": 300, "floor": 0.0}


@pytest.mark.parametrize("setting", ["Robust", None, ["robust"]])
def test_a_setting_that_does_not_exist_is_refused(setting: Any) -> None:
    with pytest.raises(ValidationError, match="'paper' or 'robust'"):
        DumpConfig(setting=setting)


@pytest.mark.parametrize(("unit", "seen"), [("prompt", 2), ("rollout", 12)])
def test_the_reward_spread_is_observed_by_prompt_or_by_rollout(unit: str, seen: int) -> None:
    curriculum = dump(statistic="reward_spread", count_unit=unit)
    curriculum.observe([passes("a", 4, 8), passes("a", 2, 4)])
    row = curriculum.metrics()["a"]
    # 4 of 8: 32 / 56 of the ordered pairs differ, twice is 8 / 7; 2 of 4: 4 / 3.
    spreads = [8 / 7, 4 / 3] if unit == "prompt" else [8 / 7] * 8 + [4 / 3] * 4
    assert row["learnability"] == pytest.approx(statistics.fmean(spreads))
    assert row["seen"] == seen


def test_robust_weights_do_not_depend_on_how_advantages_are_normalised() -> None:
    rewards = [1.0, 0.0, 0.0, 0.0]
    one, other = dump(setting="robust"), dump(setting="robust")
    one.observe([scored_group("a", [0.75, -0.25, -0.25, -0.25], rewards=rewards)])
    other.observe([scored_group("a", [1.5, -0.5, -0.5, -0.5], rewards=rewards)])
    assert one.metrics() == other.metrics()


@pytest.mark.parametrize(
    ("now", "told"),
    [({"statistic": "reward_spread"}, "statistic"), ({"count_unit": "prompt"}, "count_unit")],
)
def test_a_state_of_other_units_is_refused(now: dict[str, str], told: str) -> None:
    state = json.loads(json.dumps(dump().state_dict()))
    with pytest.raises(CheckpointError, match=f"{told} = .*in units of"):
        dump(**now).load_state_dict(state)
