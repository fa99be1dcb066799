"""Each alarm at its threshold, with its cause, and not more often than wanted."""

import math

import pytest
from step_records import step_metrics

from rlreason.alarms import AlarmLimits, Alarms
from rlreason.loop_metrics import AheadMetrics
from rlreason.metrics import StepMetrics, from_json, to_json

OK = dict.fromkeys(("ok", "unparseable", "over_limit", "timeout", "crash", "infra"), 0.0)
UNREAD, SLOW, HIDDEN = (OK | {name: 0.8} for name in ("unparseable", "timeout", "infra"))


def causes(metrics: StepMetrics) -> list[tuple[str, str]]:
    return [(alarm.name, alarm.cause) for alarm in Alarms().check(metrics)]


def warmed_up(steps: int = 10) -> Alarms:
    alarms = Alarms()
    for step in range(steps):
        assert alarms.check(step_metrics(step)) == []
    return alarms


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        ({"solved_frac": 0.9, "hopeless_frac": 0.1}, "all_right", "harder pools"),
        ({"solved_frac": 0.1, "hopeless_frac": 0.9}, "all_wrong", "easier pools"),
        ({"hopeless_frac": 1.0, "outcome_fracs": UNREAD}, "unparseable", "prompt.shots"),
        ({"hopeless_frac": 1.0, "outcome_fracs": SLOW}, "reward_fails", "time_limit_s"),
        ({"outcome_fracs": HIDDEN}, "infra", "80% of the scores"),
        ({"solved_frac": 0.4, "hopeless_frac": 0.4}, "all_equal", "group_size"),
    ],
)  # fmt: skip
def test_no_signal_names_its_cause_and_remedy(changes, cause: str, words: str) -> None:
    metrics = step_metrics(signal_frac=0.0, **{"solved_frac": 0.0, "hopeless_frac": 0.0} | changes)
    (alarm,) = Alarms().check(metrics)
    assert (alarm.name, alarm.cause, alarm.step) == ("no_signal", cause, 7)
    assert words in alarm.message


def test_one_group_with_signal_is_no_alarm() -> None:
    assert causes(step_metrics(signal_frac=0.01, hopeless_frac=0.99)) == []


def test_no_signal_because_all_is_cut_is_told_apart_from_all_wrong() -> None:
    metrics = step_metrics(signal_frac=0.0, truncated_frac=0.9, hopeless_frac=1.0)
    assert causes(metrics) == [("no_signal", "truncated"), ("truncation", "")]


def test_truncation_alarms_above_half() -> None:
    assert causes(step_metrics(truncated_frac=0.5)) == []
    assert causes(step_metrics(truncated_frac=0.51)) == [("truncation", "")]


def test_mismatch_alarms_when_it_outgrows_the_first_steps() -> None:
    # The median of the first ten is 1e-5, so the bar is at 5e-5.
    alarms = Alarms()
    for step in range(10):
        assert alarms.check(step_metrics(step, mismatch_abs=1e-5)) == []
    assert alarms.check(step_metrics(10, mismatch_abs=4.9e-5)) == []
    (alarm,) = alarms.check(step_metrics(11, mismatch_abs=5.1e-5))
    assert (alarm.name, alarm.cause) == ("mismatch", "growth")


def test_mismatch_growth_within_rounding_is_no_alarm() -> None:
    assert warmed_up().check(step_metrics(10, mismatch_abs=9e-6)) == []
    assert warmed_up().check(step_metrics(10, mismatch_abs=1.1e-5)) != []


def test_mismatch_above_the_limit_alarms_from_the_first_step() -> None:
    alarms = Alarms(AlarmLimits(mismatch_limit=1e-3))
    assert alarms.check(step_metrics(0, mismatch_abs=1e-3)) == []
    (alarm,) = alarms.check(step_metrics(1, mismatch_abs=0.04))
    assert (alarm.name, alarm.cause) == ("mismatch", "limit")
    assert "0.04 nats, above the limit of 0.001" in alarm.message


def test_entropy_alarms_below_a_tenth_of_the_first_steps() -> None:
    # Entropy of the ten first steps is 0.5.
    assert warmed_up().check(step_metrics(10, entropy=0.051)) == []
    (alarm,) = warmed_up().check(step_metrics(10, entropy=0.049))
    assert alarm.name == "entropy"
    assert warmed_up(9).check(step_metrics(9, entropy=0.001)) == []


def test_a_skipped_update_without_numbers_alarms_as_that_only() -> None:
    metrics = step_metrics(10, learned=False, skipped=True, entropy=math.nan, mismatch_abs=math.nan)
    assert [alarm.name for alarm in warmed_up().check(metrics)] == ["skipped_update"]


def test_steps_without_update_do_not_enter_the_baseline() -> None:
    alarms = Alarms()
    for step in range(20):
        alarms.check(step_metrics(step, learned=False, entropy=None, mismatch_abs=None))
    for step in range(20, 30):
        assert alarms.check(step_metrics(step)) == []
    assert alarms.check(step_metrics(30, entropy=0.01)) != []


def test_skipped_updates_do_not_enter_the_baseline() -> None:
    alarms = Alarms()
    for step in range(10):
        alarms.check(step_metrics(step, learned=False, skipped=True, entropy=math.nan))
    for step in range(10, 20):
        alarms.check(step_metrics(step))
    assert [alarm.name for alarm in alarms.check(step_metrics(20, entropy=0.01))] == ["entropy"]


def test_skipped_updates_in_a_row_are_counted_and_stop_the_run_at_three() -> None:
    alarms = Alarms()
    skipped = {"learned": False, "skipped": True, "loss": math.nan}
    (first,) = alarms.check(step_metrics(0, **skipped))
    assert "skipped with parameters unchanged (1 in a row)" in first.message
    alarms.check(step_metrics(1, learned=False, skipped=False))  # no update says nothing
    (second,) = alarms.check(step_metrics(2, **skipped))
    assert (alarms.skipped_in_row, alarms.must_stop) == (2, False)
    assert second.cause == "2 in a row"
    alarms.check(step_metrics(3, **skipped))
    assert alarms.must_stop
    alarms.check(step_metrics(4))
    assert (alarms.skipped_in_row, alarms.must_stop) == (0, False)


def test_the_same_alarm_comes_every_ten_steps_at_most() -> None:
    alarms = Alarms()
    raised = [s for s in range(25) if alarms.check(step_metrics(s, truncated_frac=0.9))]
    assert raised == [0, 10, 20]


def test_a_changed_cause_is_news_but_flickering_is_not() -> None:
    alarms = Alarms()
    right = {"signal_frac": 0.0, "solved_frac": 1.0}
    wrong = {"signal_frac": 0.0, "hopeless_frac": 1.0}
    raised = [
        len(alarms.check(step_metrics(step, **(wrong if step % 2 else right)))) for step in range(6)
    ]
    assert raised == [1, 1, 0, 0, 0, 0]


def test_replaying_the_logged_rows_restores_what_the_alarms_remember() -> None:
    first = [step_metrics(s, skipped=s == 9, learned=s != 9) for s in range(10)]
    later = [step_metrics(s, entropy=0.01, truncated_frac=0.9) for s in range(10, 25)]
    alive, resumed = Alarms(), Alarms()
    for metrics in first:
        alive.check(metrics)
        resumed.check(from_json(to_json(metrics)))
    assert resumed.skipped_in_row == alive.skipped_in_row == 1
    assert [alive.check(m) for m in later] == [resumed.check(m) for m in later]


def test_one_version_behind_the_gap_on_equal_weights_alarms_and_not_the_policys_own_move() -> None:
    alarms = Alarms()

    def ahead(gap: float | None) -> AheadMetrics:
        return AheadMetrics(policy_lag=1, sampler_gap=gap, phase_s={}, hidden_s=0.0)

    for step in range(10):
        assert alarms.check(step_metrics(step, mismatch_abs=1e-3, ahead=ahead(1e-7))) == []
    assert alarms.check(step_metrics(10, mismatch_abs=0.5, ahead=ahead(None))) == []
    (alarm,) = alarms.check(step_metrics(11, mismatch_abs=1e-3, ahead=ahead(1e-4)))
    assert (alarm.name, alarm.cause) == ("mismatch", "growth")
