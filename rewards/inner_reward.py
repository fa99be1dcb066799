"""Building one reward inside another, by dotted path, and calling it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from rlreason.errors import PluginError
from rlreason.plugins import build_plugin
from rlreason.protocols import GroupReward, Reward
from rlreason.types import Problem, Score


class InnerRewardConfig(BaseModel):
    """A reward's path and, beside it, its options."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    use: str
    """``package.module:Class`` or ``path/to/file.py:Class``."""


class InnerReward:
    """A reward that another one calls; answers with a Score, whatever the reward returns."""

    def __init__(self, config: InnerRewardConfig, *, where: str) -> None:
        options = dict(config.model_extra or {})
        self._reward: Reward | GroupReward = build_plugin(config.use, options, where=where)
        if isinstance(self._reward, GroupReward):
            raise PluginError(
                f"{where} = {config.use!r}: scores a whole group; only rewards of one completion "
                "can be part of another"
            )
        bounds = getattr(self._reward, "bounds", None)
        if not isinstance(bounds, tuple) or len(bounds) != 2:
            raise PluginError(
                f"{where} = {config.use!r}: a reward needs bounds = (lowest, highest)"
            )
        self.bounds: tuple[float, float] = (float(bounds[0]), float(bounds[1]))
        self.needs_answer = bool(getattr(self._reward, "needs_answer", False))
        self.needs_tokens = bool(getattr(self._reward, "needs_tokens", False))

    def check_problem(self, problem: Problem) -> None:
        """Ask the reward, if it checks problems at all."""
        check: Any = getattr(self._reward, "check_problem", None)
        if check is not None:
            check(problem)

    def score(
        self, problem: Problem, completion: str, completion_ids: Sequence[int] | None
    ) -> Score:
        """The reward's score; token ids are handed on to a reward that asks for them."""
        call: Any = self._reward
        result: float | Score = (
            call(problem, completion, completion_ids=completion_ids)
            if self.needs_tokens
            else call(problem, completion)
        )
        return result if isinstance(result, Score) else Score(value=result)
