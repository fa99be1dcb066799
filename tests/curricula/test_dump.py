"""Dump against the published vectors, hand arithmetic and its invariants."""

import math
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scored_groups import facts, scored_group

from curricula.dump import Dump, DumpConfig
from rlreason.errors import CheckpointError
from rlreason.types import Outcome, ScoredGroup

PROPERTY = settings(deadline=None, derandomize=True)
NAMES = ("a", "b", "c", "d")

OUTCOMES: list[Outcome] = ["ok", "unparseable", "timeout", "infra"]
GROUPS = st.builds(
    lambda pool, rollouts: scored_group(pool, [r[0] for r in rollouts], [r[1] for r in rollouts]),
    st.sampled_from(NAMES),
    st.lists(
        st.tuples(st.floats(-10, 10), st.sampled_from(OUTCOMES)),
        min_size=2,
        max_size=6,
    ),
)
HISTORIES = st.lists(st.lists(GROUPS, max_size=5), max_size=6)
CONFIGS = st.builds(
    DumpConfig,
    window=st.integers(1, 8),
    temperature=st.sampled_from([0.0, 1e-320, 0.1, 1.0, 1e6]),
    exploration=st.sampled_from([0.0, 1.0, 3.0]),
    count_unit=st.sampled_from(["rollout", "prompt"]),
    floor=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)


def dump(*names: str, **options: Any) -> Dump:
    return Dump(facts(names), DumpConfig(**options))


def term(curriculum: Dump, name: str) -> list[float]:
    return [row[name] for row in curriculum.metrics().values()]


def test_matches_the_published_three_arm_vector() -> None:
    curriculum = dump("a", "b", "c")
    curriculum.observe(
        [scored_group("a", [0.8, -0.8])] * 50 + [scored_group("b", [0.5, -0.5])] * 25
    )
    assert term(curriculum, "seen") == [100, 50, 0]
    scores = [row["learnability"] + row["bonus"] for row in curriculum.metrics().values()]
    assert scores == pytest.approx([1.115202, 0.943572, 3.167737], abs=1e-6)
    expected = [1.22e-9, 2.19e-10, 1.0]
    assert list(curriculum.weights().values()) == pytest.approx(expected, rel=5e-3)


def test_matches_the_published_four_arm_vector() -> None:
    curriculum = dump(*NAMES)
    arms = {"a": (0.80, 4000), "b": (0.72, 3000), "c": (0.55, 2000), "d": (0.10, 500)}
    for name, (size, count) in arms.items():
        curriculum.observe([scored_group(name, [size, -size] * 5)] * (count // 10))
    scores = [row["learnability"] + row["bonus"] for row in curriculum.metrics().values()]
    assert scores == pytest.approx([0.867664, 0.798129, 0.645680, 0.291216], abs=1e-6)
    expected = [0.620864, 0.309747, 0.067442, 0.001948]
    assert list(curriculum.weights().values()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count_unit", ["rollout", "prompt"])
def test_learnability_of_a_group_is_its_mean_absolute_advantage(count_unit: str) -> None:
    rewards = [3, 3, -0.5, -0.5, -0.5, -1, -3, 3]
    mean, deviation = statistics.mean(rewards), statistics.stdev(rewards)
    advantages = [(reward - mean) / (deviation + 1e-6) for reward in rewards]
    curriculum = dump("a", "b", count_unit=count_unit)
    curriculum.observe([scored_group("a", advantages)])
    assert term(curriculum, "learnability") == pytest.approx([0.8449, 0.0], abs=5e-5)
    assert term(curriculum, "seen") == [8 if count_unit == "rollout" else 1, 0]


@pytest.mark.parametrize("count_unit", ["rollout", "prompt"])
def test_groups_with_equal_rewards_bring_learnability_to_zero(count_unit: str) -> None:
    curriculum = dump("a", "b", window=16, count_unit=count_unit)
    curriculum.observe([scored_group("a", [1.0, -1.0, 1.0, -1.0])])
    for _ in range(16):
        curriculum.observe([scored_group("a", [0.0] * 4)])
    assert term(curriculum, "learnability") == [0.0, 0.0]


def test_the_301st_value_pushes_out_the_first_and_leaves_other_pools_alone() -> None:
    curriculum = dump("a", "b")
    values = [1000.0] + [1.0] * 299
    curriculum.observe([scored_group("a", values)])
    assert term(curriculum, "learnability")[0] == pytest.approx(1299 / 300)
    curriculum.observe([scored_group("b", [7.0] * 400)])
    assert term(curriculum, "learnability") == pytest.approx([1299 / 300, 7.0])
    curriculum.observe([scored_group("a", [1.0])])
    assert term(curriculum, "learnability") == [1.0, 7.0]
    assert term(curriculum, "seen") == [301, 400]


def test_prompts_count_once_and_average_only_the_counted_rollouts() -> None:
    curriculum = dump("a", "b", window=2, count_unit="prompt")
    curriculum.observe(
        [
            scored_group("a", [9.0, -9.0]),
            scored_group("a", [2.0, -4.0, 0.0], ["ok", "timeout", "infra"]),  # mean 3, not 2
            scored_group("a", [1.0, -1.0]),
        ]
    )
    assert term(curriculum, "learnability") == [2.0, 0.0]  # the 9 left the window of two prompts
    assert term(curriculum, "seen") == [3, 0]


@pytest.mark.parametrize("count_unit", ["rollout", "prompt"])
def test_rollouts_masked_by_infra_faults_are_not_observed(count_unit: str) -> None:
    curriculum = dump("a", "b", count_unit=count_unit)
    curriculum.observe([scored_group("a", [0.0, 0.0], ["infra", "infra"])])
    assert term(curriculum, "seen") == [0, 0]
    assert curriculum.weights() == {"a": 0.5, "b": 0.5}


@given(config=CONFIGS)
@PROPERTY
def test_weights_are_equal_before_any_observation(config: DumpConfig) -> None:
    weights = Dump(facts(NAMES), config).weights()
    assert weights == dict.fromkeys(NAMES, 0.25)


def test_zero_temperature_shares_all_weight_among_the_best() -> None:
    curriculum = dump("a", "b", "c", temperature=0.0, exploration=0.0)
    curriculum.observe(
        [scored_group(name, [size]) for name, size in zip("abc", [2.95, 3, 3], strict=True)]
    )
    assert curriculum.weights() == {"a": 0.0, "b": 0.5, "c": 0.5}


def test_exploration_scales_the_bonus() -> None:
    group = scored_group("a", [1.0, -1.0])
    once, twice = dump("a", "b"), dump("a", "b", exploration=2.0)
    once.observe([group])
    twice.observe([group])
    # sqrt(2 ln 3 / 3) and sqrt(2 ln 3 / 1)
    assert term(once, "bonus") == pytest.approx([0.855809, 1.482304], abs=1e-6)
    assert term(twice, "bonus") == pytest.approx([2 * bonus for bonus in term(once, "bonus")])


def test_floor_mixes_the_softmax_with_equal_shares() -> None:
    plain, floored = dump(*NAMES), dump(*NAMES, floor=0.2)
    for curriculum in (plain, floored):
        curriculum.observe([scored_group("a", [1.0, -1.0]), scored_group("b", [0.9, -0.9])])
    expected = [0.8 * weight + 0.05 for weight in plain.weights().values()]
    assert list(floored.weights().values()) == pytest.approx(expected)


@given(history=HISTORIES)
@PROPERTY
def test_matches_a_plain_reading_of_the_formula(history: list[list[ScoredGroup]]) -> None:
    curriculum = dump(*NAMES, window=5)
    seen: dict[str, list[float]] = {name: [] for name in NAMES}
    for step in history:
        curriculum.observe(step)
        for group in step:
            for score, advantage in zip(group.scores, group.advantages, strict=True):
                if score.outcome != "infra":
                    seen[group.problem.pool].append(abs(advantage))
    total = sum(len(values) for values in seen.values())
    scores = {
        name: sum(values[-5:]) / max(len(values[-5:]), 1)
        + math.sqrt(2 * math.log(total + 1) / (len(values) + 1))
        for name, values in seen.items()
    }
    powers = {
        name: math.exp((score - max(scores.values())) / 0.1) for name, score in scores.items()
    }
    expected = {name: power / sum(powers.values()) for name, power in powers.items()}
    assert curriculum.weights() == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_a_state_that_counts_in_the_other_unit_is_refused() -> None:
    state = dump("a", "b", count_unit="prompt").state_dict()
    with pytest.raises(CheckpointError, match="count_unit"):
        dump("a", "b").load_state_dict(state)


def test_a_smaller_window_on_resume_keeps_the_newest_values() -> None:
    curriculum, smaller = dump("a", "b"), dump("a", "b", window=2)
    curriculum.observe([scored_group("a", [9.0, 1.0, 3.0])])
    smaller.load_state_dict(curriculum.state_dict())
    assert term(smaller, "learnability") == [2.0, 0.0]
    assert term(smaller, "seen") == [3, 0]


@pytest.mark.parametrize(
    "options",
    [
        {"window": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"exploration": math.inf},
        {"floor": 1.5},
        {"count_unit": "token"},
        {"windw": 300},
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        DumpConfig(**options)
