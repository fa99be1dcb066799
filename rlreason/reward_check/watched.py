"""The plug-in that the workers run: the reward under test, and what its process has held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlreason.plugins import build_plugin
from rlreason.scoring_worker import check_bounds
from rlreason.types import Problem, Score

PEAK_MIB = "reward_check_peak_mib"
"""Part that ``Watched`` adds: the most memory that the worker has held, in MiB."""


class Watched:
    """Adds ``PEAK_MIB`` to the parts of every score; hides nothing of the reward."""

    def __init__(self, reward: str, options: dict[str, Any]) -> None:
        self._reward: Any = build_plugin(reward, options, where="reward")
        self.bounds = check_bounds(self._reward, (reward, options, "reward"))
        self.needs_tokens = bool(getattr(self._reward, "needs_tokens", False))
        if hasattr(self._reward, "score_group"):
            self.score_group = self._score_group

    def __call__(self, problem: Problem, completion: str, **tokens: Any) -> Score:
        """The reward's own score."""
        return _with_peak(self._reward(problem, completion, **tokens))

    def _score_group(
        self, problem: Problem, completions: Sequence[str], **tokens: Any
    ) -> list[Score]:
        scores = self._reward.score_group(problem, completions, **tokens)
        return [_with_peak(score) for score in scores]


def _with_peak(result: float | Score) -> Score:
    score = result if isinstance(result, Score) else Score(value=result)
    if score.outcome == "infra":  # its parts are quoted
        return score
    return replace(score, parts={**score.parts, PEAK_MIB: _peak_mib()})


def _peak_mib() -> float:
    # Not getrusage: its maximum is inherited from the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kib) / 1024
