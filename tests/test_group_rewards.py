"""Rewards of whole groups, and rewards that see tokens, in the workers."""

from collections.abc import Iterator, Sequence

import pytest
from scoring_groups import group, scorer, scores_of

from rlreason.config import GrpoConfig
from rlreason.errors import ConfigError, DataError, PluginError
from rlreason.preflight import preflight
from rlreason.scoring import WorkerScorer
from rlreason.types import Rollout, RolloutGroup, Score


@pytest.fixture(scope="module")
def ranked() -> Iterator[WorkerScorer]:
    with scorer("fixture_rewards:Ranked", time_limit_s=1.0, max_infra_frac=1.0) as shared:
        yield shared


def values(scores: Sequence[Score]) -> list[float]:
    return [score.value for score in scores]


def test_a_group_is_scored_together_and_in_order(ranked: WorkerScorer) -> None:
    groups = [group("c", "a", "b", slot=1), group("x", slot=0)]
    assert [values(scores) for _, scores in ranked.score(groups)] == [[0.0], [1.0, 0.0, 0.5]]


def test_outcomes_and_parts_belong_to_single_completions(ranked: WorkerScorer) -> None:
    first, second, _ = scores_of(ranked, "b", "", "a")
    assert (first.value, first.outcome, first.parts) == (1.0, "ok", {"size": 3.0})
    assert (second.value, second.outcome, second.parts) == (0.0, "unparseable", {})


@pytest.mark.parametrize(
    ("bomb", "outcome"),
    [("hang", "timeout"), ("exit", "crash"), ("raise", "crash"), ("recurse", "over_limit")],
)
def test_a_bomb_takes_its_group_and_no_other(ranked: WorkerScorer, bomb: str, outcome: str) -> None:
    groups = [group("a", "b", slot=0), group("a", bomb, "c", slot=1), group("b", "a", slot=2)]
    before, exploded, after = (scores for _, scores in ranked.score(groups))
    assert [(score.value, score.outcome) for score in exploded] == [(0.0, outcome)] * 3
    assert (values(before), values(after)) == ([0.0, 1.0], [1.0, 0.0])


def test_a_data_error_of_a_group_names_the_problem(ranked: WorkerScorer) -> None:
    with pytest.raises(DataError, match=r"pool/problem-0: .* says: no order"):
        scores_of(ranked, "a", "data")


def test_a_score_too_few_stops_the_run(ranked: WorkerScorer) -> None:
    with pytest.raises(PluginError, match="1 scores for a group of 2"):
        scores_of(ranked, "a", "lose")


def rollouts(*lengths: int) -> RolloutGroup:
    return RolloutGroup(
        problem=group("x").problem,
        slot=0,
        rollouts=tuple(
            Rollout(
                prompt_ids=(1,),
                completion_ids=tuple(range(length)),
                completion="same text",
                rollout_logprobs=(0.0,) * length,
                finish_reason="stop",
                policy_version=0,
            )
            for length in lengths
        ),
    )


@pytest.mark.parametrize("use", ["fixture_rewards:Length", "fixture_rewards:Lengths"])
def test_a_reward_that_needs_tokens_gets_the_sampled_ones(use: str) -> None:
    with scorer(use) as counting:
        ((_, scores),) = counting.score([rollouts(3, 7, 5)])
    assert values(scores) == [3.0, 7.0, 5.0]


def test_the_scorer_says_which_pools_are_scored_by_group() -> None:
    assert scorer("fixture_rewards:Ranked").of_groups == {"pool": True}
    assert scorer().of_groups == {"pool": False}


def config(**sections: object) -> GrpoConfig:
    return GrpoConfig.model_validate(
        {
            "model": {"path": "tiny-arithmetic"},
            "pools": [
                {
                    "name": "add3",
                    "source": "arithmetic:add",
                    "options": {"digits": 3, "size": 50},
                    "held_out": 4,
                    "reward": "fixture_rewards:Ranked",
                }
            ],
            "rollout": {"max_completion_tokens": 60},
            **sections,
        }
    )


def test_held_out_completions_want_a_reward_of_their_own() -> None:
    with pytest.raises(ConfigError, match=r"pools\.add3: .* set scoring.evaluation_reward"):
        preflight(config())
    preflight(config(scoring={"evaluation_reward": "rewards.boxed_exact:BoxedExact"}))
    preflight(config(evaluation={"every": 0}))
