"""Dealing requests to engines: all of them answered, none idle while another has a queue."""

import random

import pytest

from rlreason.cluster.deaths import MAX_DEATHS, WINDOW_S, Deaths
from rlreason.cluster.dispatch import Dispatch
from rlreason.errors import TrainingStopped


def test_requests_are_dealt_evenly_at_first() -> None:
    dispatch = Dispatch([4] * 6, engines=2, at_once=100)
    assert [dispatch.take(0), dispatch.take(1)] == [[0, 2, 4], [1, 3, 5]]
    assert [dispatch.take(0), dispatch.take(1)] == [[], []]


def test_an_engine_that_drains_early_gets_what_waits() -> None:
    dispatch = Dispatch([4] * 6, engines=2, at_once=8)  # two groups each, two wait
    assert [dispatch.take(0), dispatch.take(1)] == [[0, 2], [1, 3]]
    for ticket in (0, 2):
        dispatch.answered(0, ticket)
    assert dispatch.take(0) == [4, 5]
    assert dispatch.take(1) == []


def test_a_request_larger_than_an_engine_is_taken_alone() -> None:
    dispatch = Dispatch([50, 50, 50], engines=1, at_once=8)
    assert dispatch.take(0) == [0]
    dispatch.answered(0, 0)
    assert dispatch.take(0) == [1]


def test_a_fixed_deal_hangs_on_nothing_but_the_numbers() -> None:
    dispatch = Dispatch([4] * 5, engines=2, at_once=4, fixed=True)
    assert dispatch.take(0) == [0, 2, 4]
    for ticket in (0, 2, 4):
        dispatch.answered(0, ticket)
    assert dispatch.take(0) == []
    assert dispatch.take(1) == [1, 3]


@pytest.mark.parametrize("fixed", [False, True])
def test_what_a_dead_engine_held_is_asked_for_again_once(fixed: bool) -> None:
    dispatch = Dispatch([1] * 4, engines=2, at_once=10, fixed=fixed)
    assert dispatch.take(0) == [0, 2]
    dispatch.take(1)
    dispatch.answered(0, 0)
    dispatch.lost(0)
    assert dispatch.take(0) == [2]
    with pytest.raises(TrainingStopped, match=r"\[2\].*third time"):
        dispatch.lost(0)


def test_what_a_dead_engine_had_not_begun_counts_as_new() -> None:
    dispatch = Dispatch([1] * 4, engines=2, at_once=10)
    dispatch.lost(0)  # before it took any
    taken = dispatch.take(0)
    assert sorted(taken) == [0, 2]
    dispatch.lost(0)
    assert sorted(dispatch.take(1) + dispatch.take(0)) == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fixed", [False, True])
def test_all_are_answered_once_whatever_the_timing(seed: int, fixed: bool) -> None:
    chance = random.Random(seed)
    samples = [chance.randint(1, 9) for _ in range(40)]
    dispatch = Dispatch(samples, engines=3, at_once=12, fixed=fixed)
    held: list[list[int]] = [[], [], []]
    answers: list[int] = []
    died = False
    while not dispatch.is_done:
        engine = chance.randrange(3)
        held[engine] += dispatch.take(engine)
        if held[engine] and not died and len(answers) > 10:
            dispatch.lost(engine)
            held[engine], died = [], True
        if held[engine]:
            ticket = held[engine].pop(chance.randrange(len(held[engine])))
            answers.append(ticket)
            dispatch.answered(engine, ticket)
        assert fixed or sum(samples[t] for t in held[engine]) <= 12 + 9
    assert sorted(answers) == list(range(40))
    assert all(dispatch.is_idle(engine) for engine in range(3))


def test_the_fourth_death_in_ten_minutes_stops_the_run_and_tells_all_four() -> None:
    now = 0.0
    deaths = Deaths(now=lambda: now)
    for count in range(MAX_DEATHS):
        deaths.add(f"engine {count} died")
    with pytest.raises(TrainingStopped, match=r"engine 0 died.*engine 9 hung"):
        deaths.add("engine 9 hung")


def test_old_deaths_are_forgotten() -> None:
    now = [0.0]
    deaths = Deaths(now=lambda: now[0])
    for count in range(4 * MAX_DEATHS):
        now[0] = count * WINDOW_S / (MAX_DEATHS - 0.5)
        deaths.add("engine 0 died")


def test_a_lost_node_is_one_death_however_many_engines_it_had() -> None:
    deaths = Deaths(now=lambda: 0.0)
    for engine in range(8):
        deaths.add(f"engine {engine} died", lost_node="n1")
    deaths.add("engine 8 died", lost_node="n2")
    deaths.add("engine 0 died")
    with pytest.raises(TrainingStopped, match=r"4 deaths in 10 minutes.*engine 7 died"):
        deaths.add("engine 0 died")
