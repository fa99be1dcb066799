"""A run whose learner is lost is opened again, and gives up when that keeps happening."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rlreason import restarting
from rlreason.cluster.deaths import MAX_DEATHS, Deaths
from rlreason.config import GrpoConfig
from rlreason.config_file import load_config
from rlreason.errors import LearnerLostError, TrainingStopped

CONFIG = load_config("grpo.yaml")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was opened, with ``fresh`` and the counter of deaths, and what was closed."""
    noted: list[Any] = []

    @contextmanager
    def open_run(config: GrpoConfig, *, fresh: bool, deaths: Deaths) -> Iterator[str]:
        noted.append((fresh, deaths))
        try:
            yield "run"
        finally:
            noted.append("closed")

    monkeypatch.setattr(restarting, "open_run", open_run)
    return noted


def losing(times: int) -> Any:
    """A ``train`` whose learner is lost so many times."""
    left = [times]

    def train(run: str) -> None:
        if left[0]:
            left[0] -= 1
            raise LearnerLostError(f"learner rank 1 died, {left[0]} to go")

    return train


def test_a_run_that_loses_nothing_is_opened_once(
    events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarting, "train", losing(0))
    restarting.train_to_the_end(CONFIG, fresh=True)
    assert [event if event == "closed" else event[0] for event in events] == [True, "closed"]


def test_a_lost_learner_continues_the_run_and_does_not_start_it_anew(
    events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restarting, "train", losing(2))
    restarting.train_to_the_end(CONFIG, fresh=True)
    opened = [event for event in events if event != "closed"]
    assert [fresh for fresh, _ in opened] == [True, False, False]
    assert len({id(deaths) for _, deaths in opened}) == 1, "deaths are counted over all attempts"
    assert events[1::2] == ["closed"] * 3, "each attempt is closed before the next one opens"


def test_too_many_losses_stop_it(events: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "train", losing(MAX_DEATHS + 1))
    with pytest.raises(TrainingStopped, match="learner rank 1 died"):
        restarting.train_to_the_end(CONFIG)
    assert events.count("closed") == MAX_DEATHS + 1


def test_another_error_is_not_restarted(events: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "train", lambda run: [][0])
    with pytest.raises(IndexError):
        restarting.train_to_the_end(CONFIG)
    assert events.count("closed") == 1
