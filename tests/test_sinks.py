"""No tracker can stop, slow or leak from a run, whatever it does."""

import logging
import math
import sys
import threading
from collections.abc import Iterator, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from step_records import step_metrics

from rlreason.config import LogSection
from rlreason.errors import ConfigError
from rlreason.loop_metrics import ControlMetrics, RefillMetrics
from rlreason.redact import HIDDEN
from rlreason.sinks import (
    BackgroundSink,
    TrackioSink,
    WandbSink,
    flat_metrics,
    flatten,
    open_sinks,
)

WAIT_S = 20.0
"""Only ends a test that fails."""


class ListedSink:
    def __init__(self) -> None:
        self.rows: list[tuple[int, Mapping[str, float]]] = []
        self.closed = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, values))

    def close(self) -> None:
        self.closed = True


class FailingSink(ListedSink):
    """Raises on every other row, and when closed."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step % 2:
            raise ConnectionError("refused with key hf_" + "a1B2" * 8)
        super().log(step, values)

    def close(self) -> None:
        raise SystemExit(1)


class StuckSink(ListedSink):
    """Takes a row only once it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.release = threading.Event(), threading.Event()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.entered.set()
        self.release.wait(WAIT_S)
        super().log(step, values)


class FakeTracker(ModuleType):
    """Stands in for the wandb or the trackio module."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = SimpleNamespace(name=name)  # type: ignore[assignment]
        self.options: dict[str, Any] = {}
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.finished = threading.Event()

    def Settings(self, **settings: Any) -> dict[str, Any]:  # noqa: N802
        return settings

    def setup(self, settings: dict[str, Any]) -> None:
        self.set_up_with = settings

    def init(self, **options: Any) -> SimpleNamespace:
        self.options = options
        return SimpleNamespace(
            log=lambda values, step: self.rows.append((step, values)), finish=self.finished.set
        )


@pytest.fixture
def wandb(monkeypatch) -> Iterator[FakeTracker]:
    fake = FakeTracker("wandb")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_rows_reach_the_tracker_in_order_and_it_is_closed() -> None:
    inner = ListedSink()
    sink = BackgroundSink("t", lambda: inner)
    for step in range(50):
        sink.log(step, {"reward_mean": step / 50})
    sink.close()
    assert inner.rows == [(step, {"reward_mean": step / 50}) for step in range(50)]
    assert inner.closed
    assert sink.missed == 0


def test_a_raising_tracker_is_logged_once_without_its_secret(caplog) -> None:
    inner = FailingSink()
    sink = BackgroundSink("t", lambda: inner)
    for step in range(10):
        sink.log(step, {})
    with caplog.at_level(logging.WARNING):
        sink.close()
    assert [step for step, _ in inner.rows] == [0, 2, 4, 6, 8]
    assert sink.missed == 5
    complaints = [r.getMessage() for r in caplog.records if "goes on without it" in r.getMessage()]
    assert complaints == [
        f"t fails, the run goes on without it: ConnectionError: refused with key {HIDDEN}"
    ]


@pytest.mark.parametrize("fault", [OSError, SystemExit, KeyboardInterrupt])
def test_a_tracker_that_does_not_open_costs_its_rows_only(caplog, fault) -> None:
    def refuse() -> ListedSink:
        raise fault("no route to host")

    sink = BackgroundSink("t", refuse)
    sink.log(0, {})
    sink.log(1, {})
    sink.close()
    assert sink.missed == 2
    assert "no route to host" in caplog.text
    assert "t missed 2 rows; metrics.jsonl has them" in caplog.text


def test_a_stuck_tracker_drops_and_counts_what_does_not_fit() -> None:
    inner = StuckSink()
    sink = BackgroundSink("t", lambda: inner, queued_rows=3)
    sink.log(0, {})
    assert inner.entered.wait(WAIT_S)  # row 0 is in the tracker's hands, the queue is empty
    for step in range(1, 11):
        sink.log(step, {})
    inner.release.set()
    sink.close()
    assert [step for step, _ in inner.rows] == [0, 1, 2, 3]
    assert sink.missed == 7
    assert inner.closed


def test_a_hanging_tracker_is_left_behind_at_the_end(caplog) -> None:
    opened = threading.Event()

    def hang() -> ListedSink:
        opened.wait(WAIT_S)
        return ListedSink()

    sink = BackgroundSink("t", hang, close_s=0.01)
    for step in range(5):
        sink.log(step, {})
    sink.close()
    assert "t did not finish within 0.01 s; left behind" in caplog.text
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "sink-t"] == [True]
    opened.set()


def test_wandb_gets_name_hidden_config_and_quiet_settings(wandb: FakeTracker) -> None:
    log = LogSection(wandb={"project": "mine", "mode": "offline", "settings": {"silent": False}})
    (sink,) = open_sinks(log, "first", {"a": 1, "log": {"wandb": {"api_key": "abc"}}})
    sink.log(3, {"reward_mean": 0.5})
    sink.close()
    assert wandb.finished.is_set()
    assert wandb.rows == [(3, {"reward_mean": 0.5})]
    settings = wandb.options.pop("settings")
    assert wandb.set_up_with == settings  # else wandb asks for a key on the terminal
    assert wandb.options == {
        "project": "mine", "name": "first", "mode": "offline",
        "config": {"a": 1, "log": {"wandb": {"api_key": HIDDEN}}},
    }  # fmt: skip
    assert settings["console"] == "off"
    assert settings["silent"] is False


def test_trackio_gets_name_and_options(monkeypatch) -> None:
    fake = FakeTracker("trackio")
    monkeypatch.setitem(sys.modules, "trackio", fake)
    (sink,) = open_sinks(LogSection(trackio={"name": "other"}), "first", {})
    sink.log(0, {"loss": 1.0})
    sink.close()
    assert (fake.options["project"], fake.options["name"]) == ("rlreason", "other")
    assert fake.rows == [(0, {"loss": 1.0})]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_missing_package_is_a_config_error_that_names_the_extra(monkeypatch, name: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=rf"log\.{name}.*pip install 'rlreason\[{name}\]'"):
        open_sinks(LogSection(**{name: {}}), "first", {})


def test_nothing_is_opened_unless_asked_for(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: pytest.fail("looked"))
    assert open_sinks(LogSection(), "first", {}) == []


def test_a_tracker_takes_the_place_of_a_sink() -> None:
    for kind in (WandbSink, TrackioSink, BackgroundSink):
        assert callable(kind.log)
        assert callable(kind.close)


def test_nested_numbers_are_flattened_and_gaps_left_out() -> None:
    values = {"a": 1, "b": {"c": True, "d": {"e": 0.5, "f": None, "g": math.nan}}, "h": "text"}
    assert flatten(values) == {"a": 1.0, "b/c": 1.0, "b/d/e": 0.5}
    assert flatten({"mean": 2.0}, "evaluation/") == {"evaluation/mean": 2.0}


def test_what_refill_and_controllers_did_is_logged_under_their_names() -> None:
    refill = RefillMetrics(rounds=2, extra_rollouts=8, kept_frac=0.5, missing=1)
    control = ControlMetrics(kl_coefficient=0.1, entropy_coefficient=None, reference_version=4)
    values = flat_metrics(step_metrics(refill=refill, control=control))
    assert (values["refill/extra_rollouts"], values["refill/missing"]) == (8, 1)
    assert values["control/kl_coefficient"] == 0.1
    assert "control/entropy_coefficient" not in values
    assert not [name for name in flat_metrics(step_metrics()) if name.startswith(("refill", "con"))]
