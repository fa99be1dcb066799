"""Runs a reward function written for TRL as it is, with rlreason's limits around it.

    reward: {use: "rewards.trl_function:TRLReward", function: "trl.rewards:accuracy_reward"}
    reward:
      use: rewards.trl_function:TRLReward
      function: trl.rewards:get_soft_overlong_punishment
      arguments: {max_completion_len: 512, soft_punish_cache: 128}
      bounds: [-1, 0]

The function is called as TRL's trainers call it, ``f(prompts, completions, completion_ids,
**columns)``, with lists of one, since a reward scores one completion in its worker. It may be a
function, a ``partial``, an object with ``__call__``, a class or a factory (give ``arguments``, if
only ``{}``), and it may be async. What it hands to ``log_metric`` becomes a part of the score;
``log_extra`` is taken and dropped.

``None`` means that the function cannot judge this completion, and TRL (1.16) leaves such a
completion out of its group. So does the outcome ``infra``, which is what becomes of it, and which
``scoring.max_infra_frac`` counts: a function that cannot judge a fifth of a pool belongs to another
pool, and a completion that escapes judgement is not worth a try too often.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from rlreason.errors import DataError, PluginError
from rlreason.plugins import load_plugin
from rlreason.types import Problem, Score

_GIVEN = frozenset({"prompts", "completions", "completion_ids", "log_extra", "log_metric"})
_NEVER_GIVEN = {
    "trainer_state": "the state of a trainer; the value may depend on the completion alone",
    "environments": "a multi-turn environment",
}
_NOT_COLUMNS = _GIVEN | {"prompt", "completion"}


class TRLRewardConfig(BaseModel):
    """Options of TRLReward."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    function: str
    """``package.module:name`` or ``path/to/file.py:name``."""
    arguments: dict[str, Any] | None = None
    """Given, the name is called with these, and what that returns is the function."""
    bounds: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest value that the function returns."""
    completions: Literal["messages", "text"] = "messages"
    """``messages``: a completion is ``[{role: assistant, content: ...}]``, as TRL's own functions
    want it, and a text prompt becomes a user turn. ``text``: both are as they are."""
    answer_column: str = "solution"
    """Name under which the function gets the problem's answer; metadata keys are columns too."""


class TRLReward:
    """Keeps ``protocols.Reward`` around one function."""

    Config = TRLRewardConfig
    needs_tokens = True

    def __init__(self, config: TRLRewardConfig) -> None:
        self._config = config
        self.bounds = config.bounds
        self._function = _load(config)
        parameters = _parameters(self._function)
        self._required = {name for name, optional in parameters.items() if not optional}
        self._check_required()
        self.needs_answer = config.answer_column in self._required
        self._names_ids = "completion_ids" in parameters
        # One loop for the life of the worker: async clients are bound to the first that they meet.
        self._runner = asyncio.Runner()

    def check_problem(self, problem: Problem) -> None:
        """Refuse a problem that lacks a column which the function asks for."""
        missing = sorted(self._required - _GIVEN - self._columns(problem).keys())
        if missing:
            raise DataError(
                f"{self._config.function} asks for the column {missing[0]!r}, which is neither "
                f"answer_column = {self._config.answer_column!r} of a problem with an answer nor a "
                f"key of its metadata ({', '.join(map(repr, problem.metadata)) or 'none'}); a "
                "function that makes the reward function needs the option arguments"
            )

    def __call__(
        self, problem: Problem, completion: str, *, completion_ids: Sequence[int] | None = None
    ) -> float | Score:
        """The function's value, or ``infra`` where it says None."""
        self.check_problem(problem)
        if self._names_ids and completion_ids is None:
            raise PluginError(f"{self._config.function} asks for completion_ids; none were given")
        ids = {} if completion_ids is None else {"completion_ids": [list(completion_ids)]}
        logged: dict[str, float] = {}
        result = self._function(
            prompts=[self._prompt(problem)],
            completions=[self._completion(completion)],
            **ids,
            log_extra=_dropped,
            log_metric=lambda name, value: logged.update({str(name): float(value)}),
            **{name: [value] for name, value in self._columns(problem).items()},
        )
        if inspect.isawaitable(result):
            result = self._runner.run(_awaited(result))
        value = self._single(result)
        if value is None:
            return Score(value=self.bounds[0], parts=logged | {"none": 1.0}, outcome="infra")
        return Score(value=value, parts=logged)

    def _check_required(self) -> None:
        for name, what in _NEVER_GIVEN.items():
            if name in self._required:
                raise ValueError(f"{self._config.function} asks for {name}: {what} is not there")

    def _columns(self, problem: Problem) -> dict[str, Any]:
        columns = {k: v for k, v in problem.metadata.items() if k not in _NOT_COLUMNS}
        if problem.answer is not None:
            columns[self._config.answer_column] = problem.answer
        return columns

    def _prompt(self, problem: Problem) -> Any:
        if not isinstance(problem.prompt, str):
            return [dict(message) for message in problem.prompt]
        if self._config.completions == "text":
            return problem.prompt
        return [{"role": "user", "content": problem.prompt}]

    def _completion(self, text: str) -> Any:
        if self._config.completions == "text":
            return text
        return [{"role": "assistant", "content": text}]

    def _single(self, values: Any) -> float | None:
        if callable(values):
            raise PluginError(f"{self._config.function} made a function; give arguments: {{}}")
        values = list(values)
        if len(values) != 1:
            raise PluginError(
                f"{self._config.function} returned {len(values)} values for one completion"
            )
        return None if values[0] is None else float(values[0])


def _load(config: TRLRewardConfig) -> Callable[..., Any]:
    found: Any = load_plugin(config.function, where="function")
    if config.arguments is not None:
        found = found(**config.arguments)
    elif inspect.isclass(found):
        raise ValueError(f"{config.function} is a class; give arguments, if only {{}}")
    if not callable(found):
        raise ValueError(f"{config.function} is a {type(found).__name__}, which cannot be called")
    function: Callable[..., Any] = found
    return function


def _parameters(function: Callable[..., Any]) -> dict[str, bool]:
    """Parameter -> whether it may be left out."""
    parameters = inspect.signature(function).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        parameter.name: parameter.default is not parameter.empty
        for parameter in parameters
        if parameter.kind in named
    }


def _dropped(column: str, values: list[Any]) -> None:
    """TRL's ``log_extra``: the journal keeps no columns of a reward's own."""
    del column, values


async def _awaited(result: Any) -> Any:
    return await result
