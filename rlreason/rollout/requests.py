"""What is asked of an engine: one request per problem, with all that its completions depend on.

Made once, by whoever knows the step; any engine that answers a request samples the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from rlreason.config import EvaluationSection, ModelSection, RolloutSection, RunSection
from rlreason.rollout.seeds import hashed_seed
from rlreason.types import Problem


class EngineConfig(Protocol):
    """The sections that the engine reads, whatever kind of run has them."""

    @property
    def run(self) -> RunSection: ...

    @property
    def model(self) -> ModelSection: ...

    @property
    def rollout(self) -> RolloutSection: ...

    @property
    def evaluation(self) -> EvaluationSection: ...


class Request(NamedTuple):
    """A group of completions of one problem."""

    problem: Problem
    slot: int
    """Position in the step's draw."""
    samples: int
    temperature: float
    seed: int
    greedy: bool = False
    """Asks for the one completion that a baseline comes from."""
    max_tokens: int | None = None
    """Cuts the completion earlier than the recipe does."""


class RequestMaker:
    """Turns problems into requests, as the recipe says."""

    def __init__(self, config: EngineConfig) -> None:
        self._seed, self._rollout = config.run.seed, config.rollout
        self._evaluation = config.evaluation

    def training(
        self, problems: Sequence[Problem], *, step: int, first_slot: int, with_greedy: bool
    ) -> list[Request]:
        """A group each; ``with_greedy`` adds a greedy completion each, under the same slot."""
        requests = [
            Request(
                problem,
                slot,
                samples=self._rollout.group_size,
                temperature=self._rollout.temperature,
                seed=hashed_seed(self._seed, "train", step, slot),
            )
            for slot, problem in enumerate(problems, start=first_slot)
        ]
        if with_greedy:  # among the others, so that they cost no tail of their own
            requests += [
                request._replace(samples=1, temperature=0.0, seed=0, greedy=True)
                for request in requests
            ]
        return requests

    def evaluation(
        self, problems: Sequence[Problem], *, samples: int, greedy: bool
    ) -> list[Request]:
        """Groups of ``samples`` completions (one if greedy); equal seeds at every version."""
        return [
            Request(
                problem,
                slot,
                samples=1 if greedy else samples,
                temperature=0.0 if greedy else self._evaluation.temperature,
                seed=hashed_seed(self._seed, "evaluate", problem.key),
            )
            for slot, problem in enumerate(problems)
        ]

    def probe(self, problems: Sequence[Problem], *, version: int, tokens: int) -> list[Request]:
        """One completion of at most ``tokens`` each, at the temperature of training."""
        return [
            Request(
                problem,
                slot,
                samples=1,
                temperature=self._rollout.temperature,
                seed=hashed_seed(self._seed, "probe", version, slot),
                max_tokens=tokens,
            )
            for slot, problem in enumerate(problems)
        ]
