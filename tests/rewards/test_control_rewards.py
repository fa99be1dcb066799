"""Random, constant and inverted rewards, and the majority vote."""

import statistics
from collections.abc import Sequence

import pytest
from scipy import stats
from scoring_groups import group, scores_of

from rewards.constant import Constant
from rewards.inverted import Inverted, InvertedConfig
from rewards.majority_vote import MajorityVote
from rlreason.config import PluginConfig, ScoringSection
from rlreason.errors import DataError, PluginError
from rlreason.plugins import build_plugin
from rlreason.scoring import WorkerScorer
from rlreason.types import Problem, Score

PROBLEM = Problem(id="1", pool="p", prompt="?", answer="2")


def scored(use: str, *completions: str, seed: int = 0) -> Sequence[Score]:
    with WorkerScorer({"pool": PluginConfig(use=use)}, ScoringSection(), seed=seed) as scorer:
        return scores_of(scorer, *completions)


def inverted(use: str, **options: object) -> Inverted:
    return Inverted(InvertedConfig.model_validate({"reward": {"use": use, **options}}))


def test_random_scores_are_uniform_repeatable_and_blind_to_the_text() -> None:
    use = "rewards.random_score:RandomScore"
    first = [score.value for score in scored(use, *["same"] * 500)]
    assert stats.kstest(first, "uniform").pvalue > 0.01
    assert len(set(first)) == 500
    assert [score.value for score in scored(use, *["other"] * 500)] == first
    again = [score.value for score in scored(use, *["same"] * 500, seed=1)]
    assert abs(statistics.correlation(first, again)) < 0.15


def test_a_constant_tells_nothing_apart() -> None:
    assert {Constant()(PROBLEM, text) for text in ("", "2", "x")} == {1.0}


def test_inverted_mirrors_the_other_reward_in_its_bounds() -> None:
    reward = inverted("rewards.boxed_exact:BoxedExact")
    right, wrong = (reward(PROBLEM, rf"<think>x</think>\boxed{{{n}}}") for n in (2, 3))
    assert (right.value, wrong.value) == (0.0, 1.0)
    assert right.parts == {"correct": 1.0, "format": 1.0}
    knights = inverted("rewards.knights_knaves:KnightsKnaves")
    problem = Problem(id="1", pool="p", prompt="?", answer="Zoe is a knight")
    assert knights.bounds == (-3.0, 3.0)
    assert knights(problem, "<think>x</think><answer>Zoe is a knave</answer>").value == 0.5


def test_inverted_pays_nothing_for_no_answer() -> None:
    score = inverted("rewards.boxed_exact:BoxedExact")(PROBLEM, "no box")
    assert (score.value, score.outcome) == (0.0, "unparseable")


def test_inverted_asks_for_what_the_other_reward_asks_for() -> None:
    exact = inverted("rewards.boxed_exact:BoxedExact")
    assert (exact.needs_answer, exact.needs_tokens) == (True, False)
    with pytest.raises(DataError):
        exact.check_problem(Problem(id="1", pool="p", prompt="?"))
    overlong = inverted("rewards.overlong:Overlong", max_tokens=10, buffer=5)
    assert (overlong.needs_answer, overlong.needs_tokens) == (False, True)
    assert overlong(PROBLEM, "x", completion_ids=range(10)).value == 0.0
    overlong.check_problem(Problem(id="1", pool="p", prompt="?"))


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ({"use": "rewards.boxed_exakt:BoxedExact"}, "did you mean 'rewards.boxed_exact'"),
        ({"use": "rewards.majority_vote:MajorityVote"}, "scores a whole group"),
        ({"use": "rewards.boxed_exact:BoxedExact", "strikt": 1}, "unknown option 'strikt'"),
        ({"use": "fixture_rewards:NoBounds"}, "a reward needs bounds"),
    ],
)
def test_a_bad_inner_reward_is_named(reward: dict[str, object], message: str) -> None:
    with pytest.raises(PluginError, match=rf"reward of pool x.*{message}"):
        build_plugin("rewards.inverted:Inverted", {"reward": reward}, where="reward of pool x")


def votes(*answers: str) -> list[tuple[float, float, str]]:
    scores = MajorityVote().score_group(PROBLEM, answers)
    return [(score.value, score.parts["agree"], score.outcome) for score in scores]


def test_the_majority_wins_whatever_is_right() -> None:
    # Three of five say 7, which the answer (2) is not.
    assert votes(r"\boxed{7}", r"\boxed{2}", r"x \boxed{ 7 }", "none", r"\boxed{1}\boxed{7}") == [
        (1.0, 0.6, "ok"),
        (0.0, 0.2, "ok"),
        (1.0, 0.6, "ok"),
        (0.0, 0.0, "unparseable"),
        (1.0, 0.6, "ok"),
    ]


def test_a_tie_elects_nobody() -> None:
    assert [vote[0] for vote in votes(r"\boxed{1}", r"\boxed{2}", r"\boxed{1}", r"\boxed{2}")] == [
        0.0
    ] * 4
    assert [vote[0] for vote in votes("a", "b")] == [0.0, 0.0]
    assert [vote[0] for vote in votes("a", r"\boxed{}", r"\boxed{3}")] == [0.0, 0.0, 1.0]


def test_a_vote_is_of_one_group_and_comes_back_in_order() -> None:
    use = "rewards.majority_vote:MajorityVote"
    with WorkerScorer({"pool": PluginConfig(use=use)}, ScoringSection(), seed=0) as scorer:
        groups = [
            group(r"\boxed{1}", r"\boxed{2}", r"\boxed{2}", slot=1),
            group(r"\boxed{1}", r"\boxed{1}", r"\boxed{2}", slot=0),
        ]
        values = [[score.value for score in scores] for _, scores in scorer.score(groups)]
    assert values == [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
