"""summarize against hand arithmetic, and the JSON line that it becomes."""

import json
import math
from dataclasses import fields, replace

import pytest
from step_records import BOUNDS, UPDATE, pool_use, scored_group, step_metrics

from rlreason.errors import DataError
from rlreason.loop_metrics import AheadMetrics, ControlMetrics, RefillMetrics
from rlreason.metrics import StepMetrics, from_json, summarize, to_json

# Three groups of two, one of them with a scorer fault whose score (9) must count nowhere:
#   easy: 1 1 (solved)   easy: 0 1   hard: -1 and an infra fault (hopeless on what counts)
SCORED = [
    scored_group("easy", 0, [1.0, 1.0], lengths=[2, 4], parts=[{"format": 1.0}, {"format": 0.0}]),
    scored_group("easy", 1, [0.0, 1.0], lengths=[9, 3], outcomes=["unparseable", "ok"]),
    scored_group("hard", 2, [-1.0, 9.0], lengths=[5, 1], outcomes=["ok", "infra"]),
]


def summary(**changes) -> StepMetrics:
    arguments = {
        "step": 7, "version": 7, "replayed": False,
        "weights": {"easy": 0.5, "hard": 0.25, "rest": 0.25},
        "scored": SCORED, "update": UPDATE,
        "curriculum_terms": {"hard": {"weight": 0.25, "bonus": 0.3}},
        "bounds": BOUNDS, "phase_s": {"rollout": 0.5, "learn": 0.25, "journal": 0.1}, "step_s": 1.0,
    }  # fmt: skip
    arguments |= changes
    arguments["use"] = pool_use(arguments["scored"], "easy", "hard", "rest")
    return summarize(**arguments)


def test_rewards_are_averaged_over_the_completions_that_infra_did_not_hide() -> None:
    # counted: 1 1 0 1 -1 -> mean .4, squares 1 + 1 + 0 + 1 + 1 = 4 -> variance .8 - .16
    metrics = summary()
    assert metrics.reward_mean == pytest.approx(0.4)
    assert metrics.reward_std == pytest.approx(math.sqrt(0.64))
    assert metrics.reward_parts == {"format": 0.5}


def test_solved_and_hopeless_groups_are_judged_by_their_own_pools_bounds() -> None:
    metrics = summary()
    assert metrics.solved_frac == pytest.approx(1 / 3)
    assert metrics.hopeless_frac == pytest.approx(1 / 3)
    zeros = summary(scored=[scored_group("hard", 0, [0.0, 0.0])])
    assert zeros.hopeless_frac == 0.0
    assert summary(scored=[scored_group("easy", 0, [0.0, 0.0])]).hopeless_frac == 1.0


def test_a_group_hidden_by_infra_is_neither_solved_nor_hopeless() -> None:
    hidden = scored_group("easy", 0, [0.0, 0.0], outcomes=["infra", "infra"])
    metrics = summary(scored=[hidden])
    assert (metrics.solved_frac, metrics.hopeless_frac, metrics.reward_mean) == (0.0, 0.0, None)
    assert metrics.outcome_fracs["infra"] == 1.0


def test_lengths_and_outcomes_count_every_completion() -> None:
    # completion tokens 2 4 9 3 5 1
    metrics = summary()
    assert metrics.completion_tokens_mean == pytest.approx(4.0)
    assert metrics.completion_tokens_max == 9
    assert metrics.rollout_tokens == metrics.rollout_tokens_so_far == 24
    assert metrics.num_rollouts == 6
    assert metrics.truncated_frac == pytest.approx(1 / 6)
    assert metrics.prompt_tokens_mean == 4.0
    assert metrics.outcome_fracs["unparseable"] == pytest.approx(1 / 6)
    assert sum(metrics.outcome_fracs.values()) == pytest.approx(1.0)


def test_each_pool_has_its_own_numbers_and_terms() -> None:
    pools = summary().pools
    assert list(pools) == ["easy", "hard", "rest"]
    assert (pools["easy"].draws, pools["easy"].reward_mean, pools["easy"].tokens) == (2, 0.75, 18)
    assert (pools["easy"].solved_frac, pools["easy"].hopeless_frac) == (0.5, 0.0)
    assert pools["hard"].curriculum == {"bonus": 0.3}
    assert (pools["easy"].draws_so_far, pools["easy"].tokens_so_far) == (2, 18)
    assert (pools["easy"].reuse_mean, pools["easy"].distinct_frac) == (0.0, 0.2)
    assert (pools["rest"].reuse_mean, pools["rest"].distinct_frac) == (None, 0.0)
    assert (pools["rest"].draws, pools["rest"].reward_mean, pools["rest"].weight) == (0, None, 0.25)


def test_draw_entropy_is_in_nats() -> None:
    # .5 ln 2 + 2 * .25 ln 4 = 1.5 ln 2
    assert summary().draw_entropy == pytest.approx(1.5 * math.log(2))


def test_times_name_overhead_and_speeds() -> None:
    # rollout and learn are work, journal and the .15 s outside every phase are not
    metrics = summary()
    assert metrics.overhead_frac == pytest.approx(0.25)
    assert metrics.rollout_tokens_per_s == pytest.approx(48.0)
    assert metrics.learner_tokens_per_s == pytest.approx(240.0)
    assert metrics.peak_rss_gib > 0.01
    assert summary(phase_s={"learn": 0.1}, replayed=True).rollout_tokens_per_s is None


def test_a_step_without_update_has_no_loss_and_did_not_learn() -> None:
    metrics = summary(update=None)
    assert (metrics.learned, metrics.skipped, metrics.loss, metrics.num_tokens) == (
        False, False, None, None,
    )  # fmt: skip
    assert metrics.learner_tokens_per_s is None


def test_a_skipped_update_did_not_learn() -> None:
    metrics = summary(update=replace(UPDATE, skipped=True, loss=math.nan))
    assert (metrics.learned, metrics.skipped) == (False, True)


def test_a_line_is_read_back_as_the_same_record() -> None:
    metrics = summary()
    assert "\n" not in to_json(metrics)
    assert from_json(to_json(metrics)) == metrics


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_become_null(value: float) -> None:
    metrics = step_metrics(loss=value, reward_parts={"format": value})
    row = json.loads(to_json(metrics), parse_constant=pytest.fail)
    assert row["loss"] is None
    assert row["reward_parts"]["format"] is None
    assert from_json(to_json(metrics)).loss is None


def test_a_row_of_another_version_is_refused_by_its_fields() -> None:
    row = json.loads(to_json(step_metrics()))
    del row["entropy"]
    with pytest.raises(DataError, match=r"lacks \['entropy'\].*unknown \['entropi'\]"):
        from_json(json.dumps(row | {"entropi": 1}))
    with pytest.raises(DataError, match="not a JSON object"):
        from_json("[1")


def test_every_field_of_the_update_is_a_metric() -> None:
    names = {field.name for field in fields(StepMetrics)}
    assert {field.name for field in fields(UPDATE)} <= names


def test_a_line_with_refill_and_control_is_read_back_too() -> None:
    refill = RefillMetrics(rounds=2, extra_rollouts=8, kept_frac=0.5, missing=0)
    control = ControlMetrics(kl_coefficient=0.1, entropy_coefficient=None, reference_version=4)
    metrics = summary(refill=refill, control=control)
    assert from_json(to_json(metrics)) == metrics
    assert (metrics.refill, metrics.control) == (refill, control)


AHEAD = AheadMetrics(policy_lag=1, sampler_gap=2e-7, phase_s={"rollout": 0.4}, hidden_s=0.3)


def test_speed_counts_the_engines_own_seconds_where_the_step_was_sampled_ahead() -> None:
    # 24 tokens in the 0.8 s that their sampling took; this step's own phase was the next one's.
    metrics = summary(rollout_s=0.8, ahead=AHEAD)
    assert metrics.rollout_tokens_per_s == pytest.approx(24 / 0.8)
    assert summary(rollout_s=0.0).rollout_tokens_per_s is None


def test_waiting_for_the_engine_is_work_and_not_the_loops_overhead() -> None:
    metrics = summary(phase_s={"learn": 0.25, "wait": 0.5, "journal": 0.1}, step_s=1.0)
    assert metrics.overhead_frac == pytest.approx(0.25)


def test_what_ran_beside_is_in_the_line_and_older_lines_have_none() -> None:
    metrics = summary(ahead=AHEAD)
    assert from_json(to_json(metrics)) == metrics
    row = json.loads(to_json(summary()))
    del row["ahead"]
    assert from_json(json.dumps(row)).ahead is None
