"""Which problems the critiques are about, and the same ones each time."""

import pytest
from critique_parts import problem

from rlreason.critique.seeds import (
    by_pass_rate,
    by_variance,
    given,
    histories,
    is_right,
    one_per_pool,
    pass_rates,
)
from rlreason.errors import ConfigError
from rlreason.journal import JournalEntry
from rlreason.text_groups import text_group
from rlreason.types import Problem, RolloutGroup, Score, ScoredGroup


def made(pool: str, *names: str) -> list[Problem]:
    return [Problem(id=name, pool=pool, prompt=name) for name in names]


POOLS = {"a": made("a", "1", "2", "3"), "b": made("b", "3", "4")}


def keys(problems: list[Problem]) -> list[str]:
    return [problem.key for problem in problems]


def test_problems_are_named_by_key_or_by_an_id_that_is_theirs_alone() -> None:
    assert keys(given(POOLS, ["b/3", "1"], where="seeds.ids")) == ["b/3", "a/1"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["3"], "several problems are called so; write one of a/3, b/3"),
        (["b/33"], "no pool holds such a problem; did you mean 'b/3'"),
        (["1", "a/1"], "named twice"),
    ],
)
def test_a_name_that_is_not_one_problem_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"seeds.ids = .*{message}"):
        given(POOLS, names, where="seeds.ids")


def test_one_of_each_pool_whatever_the_order_of_its_problems() -> None:
    chosen = one_per_pool(POOLS, seed=0)
    assert [problem.pool for problem in chosen] == ["a", "b"]
    turned = {name: list(reversed(problems)) for name, problems in POOLS.items()}
    assert one_per_pool(turned, seed=0) == chosen
    assert len({keys(one_per_pool(POOLS, seed=seed))[0] for seed in range(20)}) == 3


def test_the_pass_rate_nearest_to_the_target_is_chosen() -> None:
    rates = {"a/1": 0.9, "a/2": 0.4, "b/3": 0.55, "b/4": 0.0}
    assert keys(by_pass_rate(POOLS, rates, target=0.5, count=2, per_pool=False)) == ["b/3", "a/2"]
    assert keys(by_pass_rate(POOLS, rates, target=0.5, count=1, per_pool=True)) == ["a/2", "b/3"]
    assert keys(by_pass_rate(POOLS, rates, target=0.0, count=1, per_pool=False)) == ["b/4"]
    with pytest.raises(ConfigError, match="3 wanted of a, but only 2 of its 3"):
        by_pass_rate(POOLS, rates, target=0.5, count=3, per_pool=True)


def test_the_pass_rate_that_varied_most_is_chosen() -> None:
    # variances: 0.25, 0.01, none (drawn once), 0
    drawn = {"a/1": [0, 1], "a/2": [0.4, 0.6], "b/3": [1.0], "b/4": [0.5, 0.5]}
    assert keys(by_variance(POOLS, drawn, count=3, per_pool=False)) == ["a/1", "a/2", "b/4"]
    with pytest.raises(ConfigError, match="2 wanted of b, but only 1"):
        by_variance(POOLS, drawn, count=2, per_pool=True)


def scored(problem: Problem, *values: float | None) -> ScoredGroup:
    """A group with these scores; None is a fault of the scorer."""
    rollout = text_group(problem, "x", 0).rollouts[0]
    group = RolloutGroup(problem=problem, slot=0, rollouts=(rollout,) * len(values))
    scores = tuple(
        Score(value=0.0, outcome="infra") if value is None else Score(value=value)
        for value in values
    )
    return ScoredGroup(group=group, scores=scores, advantages=(0.0,) * len(values))


def test_histories_are_read_off_an_earlier_run() -> None:
    one, two = problem("1+1"), problem("2+2")
    steps = [[scored(one, 1, 0.9999, 0, None), scored(two, None)], [scored(one, 1, 1)]]
    entries = [
        JournalEntry(step=step, policy_version=step, weights={}, scored=tuple(groups))
        for step, groups in enumerate(steps)
    ]
    found = histories(entries, {"add3": (0.0, 1.0)})
    assert found == {"add3/1+1": [1 / 3, 1.0]}
    flat = pass_rates([(group.group, group.scores) for group in steps[0]], {"add3": (0.0, 1.0)})
    assert flat == {"add3/1+1": 1 / 3}


def test_right_is_the_highest_score_and_nothing_below() -> None:
    assert is_right(Score(value=2.0), (-1.0, 2.0))
    assert is_right(Score(value=0.1 + 0.2), (0.0, 0.3))
    assert not is_right(Score(value=1.99), (-1.0, 2.0))
    assert not is_right(Score(value=1.0), (1.0, 1.0))
