"""Engines and ranks as Ray processes: dealt to, killed, hung, replaced. Their parts are fakes."""

import importlib.util
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray_fakes
from process_tree import LOOPBACK, descendants, is_alive, listeners
from ray_fakes import IMPATIENT, await_death, problem, processes

from rlreason.cluster.deaths import Deaths
from rlreason.errors import LearnerLostError, PluginError, StalePolicyError, TrainingStopped

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the ray extra"
)


def test_all_are_answered_and_an_engine_that_drains_early_gets_what_waits(
    start_fleet: Callable[..., Any],
) -> None:
    # Two groups at once: one engine is held up until the other has answered everything else.
    problems = [problem("held", wait_for="rest is done"), *(problem(str(i)) for i in range(9))]
    problems.append(problem("last", leave="rest is done"))
    deaths = Deaths()
    groups = list(start_fleet(at_once=4, deaths=deaths).generate(problems, step=0))
    answered = processes(groups)
    assert sorted(group.slot for group in groups) == list(range(11))
    held = answered.pop("held")
    # Its second group waited in its queue; the nine others went to the engine that was free.
    assert sum(process == held for process in answered.values()) <= 1
    assert len(set(answered.values()) | {held}) == 2


def test_a_killed_engine_is_replaced_and_its_requests_are_asked_for_once_more(
    start_fleet: Callable[..., Any], tmp_path: Path
) -> None:
    fleet = start_fleet()
    fleet.load_buckets([], version=5)
    before = processes(list(fleet.generate([problem("a"), problem("b")], step=0)))
    problems = [problem("deadly", deaths=1), *(problem(str(i)) for i in range(7))]
    groups = list(fleet.generate(problems, step=5))
    assert sorted(group.problem.id for group in groups) == sorted(p.id for p in problems)
    # The new engine held the current version before its first token.
    assert {rollout.policy_version for group in groups for rollout in group.rollouts} == {5}
    answered = set(processes(groups).values())
    [(old, orphan)] = set(before.values()) - answered
    await_death(old, orphan)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked.count("deadly") == 2
    assert "engine_0.log" in {path.name for path in tmp_path.iterdir()}


def test_a_hung_engine_is_killed_with_its_child_and_replaced(
    start_fleet: Callable[..., Any],
) -> None:
    fleet = start_fleet(deadlines=IMPATIENT)
    before = processes(list(fleet.generate([problem("a"), problem("b")], step=0)))
    groups = list(fleet.generate([problem("stuck", hangs=1), problem("fine")], step=1))
    assert sorted(group.problem.id for group in groups) == ["fine", "stuck"]
    [(old, orphan)] = set(before.values()) - set(processes(groups).values())
    await_death(old, orphan)


def test_a_request_that_kills_two_engines_stops_the_run(start_fleet: Callable[..., Any]) -> None:
    with pytest.raises(TrainingStopped, match="third time"):
        list(start_fleet().generate([problem("deadly", deaths=9)], step=0))


def test_an_engine_that_did_not_take_the_weights_is_told(start_fleet: Callable[..., Any]) -> None:
    fleet = start_fleet()
    fleet.load_buckets([], version=12)
    with pytest.raises(StalePolicyError, match=r"engine \d reports policy version 12 after.* 13"):
        fleet.load_buckets([], version=13)


def test_the_replacement_of_an_engine_that_died_asleep_sleeps_too(
    start_fleet: Callable[..., Any], tmp_path: Path
) -> None:
    fleet = start_fleet()
    fleet.load_buckets([], version=3)
    dead, _ = processes(list(fleet.generate([problem("a")], step=3)))["a"]
    fleet.sleep()
    os.kill(dead, signal.SIGKILL)
    fleet.sleep()  # a second forward of the learner, before anything is sampled
    assert not list(tmp_path.glob("awake *"))
    [group] = fleet.generate([problem("b")], step=3)
    assert group.rollouts[0].policy_version == 3


def test_answers_of_an_abandoned_phase_are_dropped(start_fleet: Callable[..., Any]) -> None:
    fleet = start_fleet(at_once=2)
    abandoned = fleet.generate([problem(f"old {i}") for i in range(40)], step=0)
    next(abandoned)
    abandoned.close()
    groups = list(fleet.generate([problem(f"new {i}") for i in range(6)], step=1))
    assert sorted(group.problem.id for group in groups) == [f"new {i}" for i in range(6)]


def test_nothing_listens_beyond_the_loopback(start_fleet: Callable[..., Any]) -> None:
    start_fleet()
    sockets = listeners(descendants(os.getpid()))
    assert len(sockets) > 3  # Ray's own, and those of its workers
    assert {address for address, _ in sockets} <= LOOPBACK


def test_what_one_rank_is_told_all_are_told_and_rank_0_answers(
    start_ranks: Callable[..., Any],
) -> None:
    learner = start_ranks()
    assert learner.update([], step=0) == learner.update([], step=1)
    # Shared out by turns, returned in order.
    assert learner.reference_logprobs([5, 6, 7]) == [(5.0, 0.0), (6.0, 1.0), (7.0, 0.0)]
    assert list(learner.named_tensors()) == [b"one", b"two"]


def test_a_lost_rank_ends_all_of_them(start_ranks: Callable[..., Any]) -> None:
    learner = start_ranks(dies_at=1)
    process = learner.update([], step=0)
    assert is_alive(process)
    with pytest.raises(LearnerLostError, match=r"learner rank 1 died .*learner_rank_1\.log"):
        learner.update([], step=1)
    await_death(process)


def test_a_silent_rank_is_as_lost(start_ranks: Callable[..., Any]) -> None:
    learner = start_ranks(hangs_at=1)
    process = learner.update([], step=0)
    with pytest.raises(LearnerLostError, match="learner rank 1 gave no sign of life in 5 s"):
        learner.update([], step=1)
    await_death(process)


def test_an_error_of_a_rank_is_its_own_and_no_loss(start_ranks: Callable[..., Any]) -> None:
    with pytest.raises(PluginError, match=r"rank \d raises"):
        start_ranks(raises_at=0).update([], step=0)


def test_what_took_an_engine_and_a_rank_is_the_loss_of_the_learner(
    start_fleet: Callable[..., Any], start_ranks: Callable[..., Any], tmp_path: Path
) -> None:
    fleet, learner = start_fleet(), start_ranks()
    fleet.before_replacing = learner.refuse_loss
    os.kill(learner.update([], step=0), signal.SIGKILL)
    with pytest.raises(LearnerLostError, match=r"rank 0 died \(looked at\).*and engine \d died"):
        list(fleet.generate([problem("deadly", deaths=9)], step=0))
    # No time is lost on another engine: all will start again.
    assert (tmp_path / "asked").read_text().splitlines() == ["deadly"]


def test_a_rank_that_is_busy_is_not_lost(
    start_ranks: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlreason.cluster import ray_learner

    learner = start_ranks()
    busy = learner._members[0].call(ray_fakes.linger, tmp_path)
    monkeypatch.setattr(ray_learner, "LOOK_S", 0.2)
    learner.refuse_loss("engine 0 died")
    (tmp_path / "enough").touch()
    learner._members[0].result(busy, 10, "busy")


@pytest.fixture
def publish(
    start_fleet: Callable[..., Any], start_ranks: Callable[..., Any]
) -> Callable[[int], Any]:
    """Publish from ranks that send past the driver; the engines that were sent to."""
    from rlreason.cluster.ray_transfer import RemoteEngines, TransferPublisher

    fleet, learner = start_fleet(replaces=False), start_ranks()
    engines = RemoteEngines(fleet.handles, processes_each=1)
    learner.meet_engines(ray_fakes.SendingRank, engines)
    publisher = TransferPublisher(learner, fleet)

    def publish(version: int) -> Any:
        publisher.publish(version)
        return fleet

    return publish


def test_what_ranks_send_is_asked_for_at_every_engine(publish: Callable[[int], Any]) -> None:
    groups = list(publish(7).generate([problem(str(i)) for i in range(6)], step=7))
    assert len(set(processes(groups).values())) == 2
    assert {rollout.policy_version for group in groups for rollout in group.rollouts} == {7}
    with pytest.raises(StalePolicyError, match="reports policy version 7 after version 13"):
        publish(13)


def test_an_engine_lost_in_a_transfer_takes_the_learner_with_it(
    publish: Callable[[int], Any],
) -> None:
    with pytest.raises(LearnerLostError, match="an engine died while weights came"):
        publish(14)


def test_an_engine_that_weights_are_sent_to_is_not_replaced_alone(
    publish: Callable[[int], Any],
) -> None:
    with pytest.raises(LearnerLostError, match="weights are sent to all engines together"):
        list(publish(3).generate([problem("deadly", deaths=1)], step=3))
