"""MathAnswer in reward workers: a thousand answers, many of them bombs, none lost or swapped."""

import random
from collections import Counter

from scoring_groups import rollout

from rlreason.config import PluginConfig, ScoringSection
from rlreason.scoring import WorkerScorer
from rlreason.types import Problem, RolloutGroup

BOMBS = [
    "9^{9^{9}}",
    "3^{1000000000}",
    "10000000!!",
    "((9!)!)!",
    "(" * 3000 + "6" + ")" * 3000,
    "\\sqrt{" * 500 + "6" + "}" * 500,
    "9" * 50_000,
    "x+" * 4000 + "6",
    "\\frac{1}{10^{10^{10}}}",
    "__import__('os')._exit(1)",
    "\\binom{10000000}{5000000}",
    "\\Gamma(10^{10^{10}})",
]
SLOW_BOMB = "\\prod_{n=1}^{10000000} n"


def completions(count: int, seed: int) -> list[tuple[str, bool]]:
    """Answers to the problem whose answer is its place in the list."""
    chance = random.Random(seed)
    made = []
    for place in range(count):
        kind = chance.random()
        if place % 500 == 499:
            made.append((f"\\boxed{{{SLOW_BOMB}}}", False))
        elif kind < 0.3:
            made.append((f"\\boxed{{{chance.choice(BOMBS)}}}", False))
        elif kind < 0.4:
            made.append((f"\\boxed{{{place + 1}}}", False))
        else:
            made.append((f"\\boxed{{\\frac{{{3 * place}}}{{3}}}}", True))
    return made


def test_a_thousand_answers_with_bombs_among_them_are_scored_in_order() -> None:
    made = completions(1000, seed=0)
    groups = [
        RolloutGroup(
            problem=Problem(id=str(place), pool="pool", prompt="?", answer=str(place)),
            slot=place,
            rollouts=(rollout(text),),
        )
        for place, (text, _) in enumerate(made)
    ]
    limits = ScoringSection(workers=2, time_limit_s=4.0, memory_limit_gib=1.0)
    rewards = {"pool": PluginConfig(use="rewards.math_answer:MathAnswer")}
    with WorkerScorer(rewards, limits, seed=0) as scorer:
        scored = scorer.score(groups)
    assert [group.slot for group, _ in scored] == list(range(1000))
    values = [score.value for _, (score,) in scored]
    assert values == [float(is_right) for _, is_right in made]
    outcomes = Counter(score.outcome for _, (score,) in scored)
    assert outcomes["crash"] == outcomes["infra"] == 0
    assert outcomes["over_limit"] > 100
