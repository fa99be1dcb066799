"""TRL's reward functions, its own and others, in the real workers."""

import logging
from typing import Any

import pytest

from rewards.trl_function import TRLReward, TRLRewardConfig
from rlreason.config import PluginConfig, ScoringSection
from rlreason.errors import DataError, PluginError, TrainingStopped
from rlreason.plugins import build_plugin
from rlreason.scoring import WorkerScorer
from rlreason.types import Problem, Rollout, RolloutGroup, Score

PROBLEM = Problem(id="1", pool="p", prompt="?", answer="$12$", metadata={"label": "yes", "n": 3})
PATH = "rewards.trl_function:TRLReward"


def scores(function: str, *completions: str, tokens: int = 1, **options: Any) -> tuple[Score, ...]:
    function = function if ":" in function else f"trl_functions:{function}"
    limits = ScoringSection(time_limit_s=20.0)
    plugin = PluginConfig.model_validate({"use": PATH, "function": function, **options})
    with WorkerScorer({"p": plugin}, limits, seed=0) as scorer:
        ((_, found),) = scorer.score([group(completions, tokens)])
    return found


def group(completions: tuple[str, ...], tokens: int) -> RolloutGroup:
    rollouts = tuple(
        Rollout(
            prompt_ids=(1,),
            completion_ids=(1,) * tokens,
            completion=text,
            rollout_logprobs=(0.0,) * tokens,
            finish_reason="stop",
            policy_version=0,
        )
        for text in completions
    )
    return RolloutGroup(problem=PROBLEM, slot=0, rollouts=rollouts)


def values(*arguments: Any, **options: Any) -> list[float]:
    return [score.value for score in scores(*arguments, **options)]


def test_trls_accuracy_reward_runs_unchanged() -> None:
    pytest.importorskip("trl")
    texts = (r"It is \boxed{12}.", r"\boxed{13}", "")
    assert values("trl.rewards:accuracy_reward", *texts) == [1.0, 0.0, 0.0]


def test_trls_format_reward_runs_unchanged() -> None:
    pytest.importorskip("trl")
    texts = ("<think>so</think>12", "<think>so 12")
    assert values("trl.rewards:think_format_reward", *texts) == [1.0, 0.0]


@pytest.mark.parametrize(("tokens", "value"), [(80, 0.0), (90, -0.5), (101, -1.0)])
def test_trls_overlong_punishment_sees_the_tokens(tokens: int, value: float) -> None:
    pytest.importorskip("trl")
    factory = "trl.rewards:get_soft_overlong_punishment"
    arguments = {"max_completion_len": 100, "soft_punish_cache": 20}
    options = {"arguments": arguments, "bounds": (-1.0, 0.0)}
    assert values(factory, "x", tokens=tokens, **options) == [value]


def test_metadata_become_columns_and_text_stays_text() -> None:
    assert values("same_as_label", "yes", "no", completions="text") == [1.0, 0.0]


def test_messages_are_the_default() -> None:
    assert values("reads_roles", "x") == [1.0]


@pytest.mark.parametrize(("name", "arguments"), [("patient", None), ("Judge", {"scale": 0.5})])
def test_async_functions_share_one_event_loop(name: str, arguments: Any) -> None:
    assert values(name, "a", "b", "c", arguments=arguments) == [0.5, 0.5, 0.5]


def test_a_partial_is_a_function() -> None:
    assert values("odd", "3", "4", completions="text") == [1.0, 0.0]


def test_the_sampled_tokens_are_handed_on() -> None:
    assert values("counts_tokens", "x", tokens=7, bounds=(0.0, 9.0)) == [7.0]


def test_none_leaves_the_completion_out_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    reward = build_plugin(PATH, {"function": "trl_functions:undecided"}, where="reward")
    score = reward(PROBLEM, "four")
    assert (score.value, score.outcome) == (0.0, "infra")
    assert score.parts == {"length": 1.0, "none": 1.0}  # of one message
    with caplog.at_level(logging.ERROR), pytest.raises(TrainingStopped, match=r"infra.*'none': 1"):
        scores("undecided", "a", "b")


def test_a_column_that_is_missing_is_named_before_the_run() -> None:
    reward = TRLReward(TRLRewardConfig(function="trl_functions:same_as_label"))
    reward.check_problem(PROBLEM)
    bare = Problem(id="1", pool="p", prompt="?", answer="12")
    with pytest.raises(DataError, match=r"column 'label'.*answer_column = 'solution'"):
        reward.check_problem(bare)
    renamed = TRLReward(
        TRLRewardConfig(function="trl_functions:same_as_label", answer_column="label")
    )
    renamed.check_problem(bare)
    assert (renamed.needs_answer, reward.needs_answer) == (True, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"function": "trl_functions:wants_a_trainer"}, "asks for trainer_state"),
        ({"function": "trl_functions:Judge"}, "give arguments"),
        ({"function": "trl_functions:patien"}, "did you mean 'patient'"),
        ({"function": "trl_functions:patient", "bound": [0, 1]}, "did you mean 'bounds'"),
    ],
)
def test_what_cannot_run_is_refused_when_it_is_built(options: dict[str, Any], said: str) -> None:
    with pytest.raises(PluginError, match=said):
        build_plugin(PATH, options, where="reward")


def test_a_list_of_the_wrong_length_stops_the_run() -> None:
    with pytest.raises(PluginError, match="returned 2 values for one completion"):
        scores("miscounts", "x")


def test_a_value_outside_the_bounds_stops_the_run() -> None:
    with pytest.raises(PluginError, match="bounds are"):
        scores("counts_tokens", "x", tokens=7)


def test_a_library_that_does_not_fit_says_which_limit_to_raise() -> None:
    with pytest.raises(TrainingStopped, match=r"2\.00 GiB.*raise scoring\.memory_limit_gib"):
        scores("imports_much", "x")
