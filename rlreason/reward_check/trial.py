"""Scores probes in the real workers: in order, in another order, and in another worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rlreason.config import PluginConfig, ScoringSection
from rlreason.reward_check.probes import Probe
from rlreason.reward_check.watched import PEAK_MIB, Watched
from rlreason.scoring import WorkerScorer
from rlreason.scoring_messages import Answer
from rlreason.text_groups import text_group

Trial = Callable[[Sequence[Probe]], list[Answer]]
"""Probes -> what came of each, in a worker of its own that lives on between calls."""


def open_trial(
    reward: str, options: dict[str, Any], pools: set[str], limits: ScoringSection
) -> WorkerScorer:
    """A scorer of the watched reward for problems of ``pools``."""
    use = f"{Watched.__module__}:{Watched.__qualname__}"
    plugin = PluginConfig.model_validate({"use": use, "reward": reward, "options": options})
    return WorkerScorer(dict.fromkeys(sorted(pools), plugin), limits, seed=0)


def run(scorer: WorkerScorer, probes: Sequence[Probe], order: Sequence[int]) -> dict[int, Answer]:
    """Index -> what came of that probe, handed to the worker in ``order``.

    A probe's slot is its index, whatever the order, so a reward that draws from ``random`` draws
    the same again.
    """
    _, answers = scorer.answers(
        [text_group(probes[index].problem, probes[index].completion, index) for index in order]
    )
    return dict(zip(order, answers, strict=True))


def peak_mib(answers: Sequence[Answer]) -> float:
    """The most memory that any of the workers told of."""
    return max((answer.get("parts", {}).get(PEAK_MIB, 0.0) for answer in answers), default=0.0)


def verdict(answer: Answer) -> tuple[Any, ...]:
    """All that must be the same when the same text is scored again."""
    parts = {name: part for name, part in answer.get("parts", {}).items() if name != PEAK_MIB}
    return answer.get("value"), answer.get("outcome"), answer.get("fault"), sorted(parts.items())
