"""Rewards in killable worker processes: a score for every completion, whatever a completion does.

``WorkerScorer`` is the driver's end. It hands completions to ``scoring_supervisor`` while the
engine still samples, and turns the answers into scores. Of what goes wrong,

- the completion's doing (over_limit, timeout, crash) scores the reward's floor;
- an exception in the reward scores the floor too, is logged with the problem's name, and stops the
  run when a step has more than ``scoring.max_infra_frac`` of them and of ``infra`` together;
- ``DataError`` from a reward (our data is wrong) or a score outside its bounds stops the run.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rlreason.config import PluginConfig, ScoringSection
from rlreason.errors import DataError, PluginError, TrainingStopped
from rlreason.plugins import build_plugin
from rlreason.protocols import GroupReward
from rlreason.scoring_messages import Answer, RewardSpec, Setup, Task
from rlreason.scoring_process import ScoringProcess
from rlreason.scoring_worker import check_bounds
from rlreason.types import Problem, RolloutGroup, Score

_log = logging.getLogger(__name__)

Scored = tuple[RolloutGroup, tuple[Score, ...]]


class WorkerScorer:
    """Scores groups in worker processes; keeps ``protocols.Scorer``.

    Args:
        rewards: Pool name -> its reward. Pools with the same reward and options share one object.
        limits: Workers, time and memory of a completion, and how many faults stop the run.
        seed: Seeds ``random`` in the worker, afresh for each completion.
    """

    def __init__(
        self, rewards: Mapping[str, PluginConfig], limits: ScoringSection, *, seed: int
    ) -> None:
        self._limits = limits
        self._seed = seed
        self._specs: list[RewardSpec] = []
        self._index: dict[str, int] = {}
        places: dict[str, int] = {}
        for pool, plugin in rewards.items():
            place = places.setdefault(repr((plugin.use, plugin.options)), len(self._specs))
            if place == len(self._specs):
                self._specs.append((plugin.use, plugin.options, f"reward of pool {pool}"))
            self._index[pool] = place
        self._bounds: list[tuple[float, float]] = []
        self._needs_answer: list[bool] = []
        self._needs_tokens: list[bool] = []
        self._of_groups: list[bool] = []
        self._supervisor: ScoringProcess | None = None

    def check(self) -> None:
        """Build every reward once in this process, before anything heavy starts.

        Raises:
            PluginError: If one does not load, refuses its options or declares no sane bounds.
        """
        if self._bounds:
            return
        rewards = [build_plugin(path, options, where=where) for path, options, where in self._specs]
        self._needs_answer = [bool(getattr(reward, "needs_answer", False)) for reward in rewards]
        self._needs_tokens = [bool(getattr(reward, "needs_tokens", False)) for reward in rewards]
        self._of_groups = [isinstance(reward, GroupReward) for reward in rewards]
        self._bounds = [
            check_bounds(reward, spec) for reward, spec in zip(rewards, self._specs, strict=True)
        ]

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """Pool -> lowest and highest value of its reward."""
        self.check()
        return {pool: self._bounds[place] for pool, place in self._index.items()}

    @property
    def needs_answer(self) -> Mapping[str, bool]:
        """Pool -> whether its reward declares ``needs_answer = True``."""
        self.check()
        return {pool: self._needs_answer[place] for pool, place in self._index.items()}

    @property
    def of_groups(self) -> Mapping[str, bool]:
        """Pool -> whether its reward scores whole groups, so that it takes no single completion."""
        self.check()
        return {pool: self._of_groups[place] for pool, place in self._index.items()}

    def start(self) -> None:
        """Start the processes without waiting for them; ``score`` does it when nobody has."""
        if self._supervisor is None:
            self.check()
            setup = Setup(
                specs=self._specs,
                workers=self._limits.workers,
                time_limit_s=self._limits.time_limit_s,
                memory_limit_bytes=int(self._limits.memory_limit_gib * 2**30),
            )
            self._supervisor = ScoringProcess(setup)

    def score(self, groups: Iterable[RolloutGroup]) -> list[Scored]:
        """Every group with its scores, sorted by slot. Scores while ``groups`` is still iterated.

        Raises:
            DataError: A reward says that a problem of ours is wrong.
            PluginError: A reward cannot be built in a worker, or its score broke its contract.
            TrainingStopped: Too large a share of the scores are faults of the scorer.
        """
        arrived, answers = self.answers(groups)
        problems = [group.problem for group in arrived for _ in group.rollouts]
        self._judge_faults(problems, answers)
        floors = [self._bounds[self._index[problem.pool]][0] for problem in problems]
        scores = [_score(answer, floor) for answer, floor in zip(answers, floors, strict=True)]
        return sorted(_regroup(arrived, scores), key=lambda scored: scored[0].slot)

    def answers(self, groups: Iterable[RolloutGroup]) -> tuple[list[RolloutGroup], list[Answer]]:
        """The groups, and what came of each completion, faults of the reward among it, unjudged.

        Raises:
            PluginError: A reward cannot be built in a worker.
        """
        arrived: list[RolloutGroup] = []
        sizes: list[int] = []
        tasks: list[bytes] = []
        try:
            self.start()
            for group in groups:
                arrived.append(group)
                for task in self._tasks(group):
                    payload = pickle.dumps(task)
                    self._submit(len(tasks), payload)
                    tasks.append(payload)
                    sizes.append(len(task.completions))
            return arrived, _one_each(self._collect(tasks), sizes)
        except BaseException:
            self.close()  # what is under way must not be taken for the next step's
            raise

    def close(self) -> None:
        """End every process that was started; ``score`` would start new ones."""
        if self._supervisor is not None:
            self._supervisor.close()
            self._supervisor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tasks(self, group: RolloutGroup) -> list[Task]:
        """One for the whole group where its reward wants that, else one per completion."""
        problem = group.problem
        if problem.pool not in self._index:
            raise PluginError(f"problem {problem.key}: no reward for pool {problem.pool!r}")
        place = self._index[problem.pool]
        whole = [group.rollouts] if self._of_groups[place] else [(r,) for r in group.rollouts]
        tasks: list[Task] = []
        for sample, rollouts in enumerate(whole):
            name = (self._seed, problem.key, group.slot, sample, rollouts[0].policy_version)
            digest = hashlib.blake2b(repr(name).encode(), digest_size=8).digest()
            ids = tuple(rollout.completion_ids for rollout in rollouts)
            tasks.append(
                Task(
                    reward=place,
                    seed=int.from_bytes(digest),
                    problem=problem,
                    completions=tuple(rollout.completion for rollout in rollouts),
                    completion_ids=ids if self._needs_tokens[place] else None,
                )
            )
        return tasks

    def _submit(self, index: int, task: bytes) -> None:
        assert self._supervisor is not None, "score starts it"
        self._supervisor.submit(index, task)

    def _collect(self, tasks: Sequence[bytes]) -> list[list[Answer]]:
        assert self._supervisor is not None, "score starts it"
        answers = self._supervisor.collect(len(tasks))
        if answers is None:
            _log.warning("scoring: the supervisor died; scoring this step again with another")
            self.close()
            self.start()
            for index, task in enumerate(tasks):
                self._submit(index, task)
            answers = self._supervisor.collect(len(tasks))
        if answers is None:
            self.close()
            return [[Answer(outcome="infra", message="the scoring supervisor died")] for _ in tasks]
        return answers

    def _judge_faults(self, problems: Sequence[Problem], answers: Sequence[Answer]) -> None:
        faults: list[str] = []
        for problem, answer in zip(problems, answers, strict=True):
            path = self._specs[self._index[problem.pool]][0]
            message = answer.get("message", "no reason given")
            match answer.get("fault"):
                case "data":
                    raise DataError(f"problem {problem.key}: reward {path} says: {message}")
                case "contract":
                    raise PluginError(f"reward {path} on problem {problem.key}: {message}")
            if answer.get("fault") == "raised" or answer["outcome"] == "infra":
                faults.append(f"reward {path} failed on problem {problem.key}: {message}")
        counts = Counter(answer["outcome"] for answer in answers)
        if counts["timeout"] or counts["crash"] or faults:
            example = f"; {faults[0]}" if faults else ""
            _log.warning("scoring: outcomes %s%s", dict(counts), example)
        if len(faults) > self._limits.max_infra_frac * len(answers):
            raise TrainingStopped(
                f"{len(faults)} of this step's {len(answers)} scores are faults of the scorer, a "
                f"larger share than scoring.max_infra_frac = {self._limits.max_infra_frac}; "
                f"the first: {faults[0]}"
            )


def _one_each(replies: Sequence[list[Answer]], sizes: Sequence[int]) -> list[Answer]:
    """An answer per completion: a reply may hold a single one for all of its task."""
    return [
        answer
        for reply, size in zip(replies, sizes, strict=True)
        for answer in (reply if len(reply) == size else reply * size)
    ]


def _score(answer: Answer, floor: float) -> Score:
    return Score(
        value=answer.get("value", floor),
        parts=answer.get("parts", {}),
        outcome=answer["outcome"],
        seconds=answer.get("seconds", 0.0),
    )


def _regroup(groups: Sequence[RolloutGroup], scores: Sequence[Score]) -> list[Scored]:
    remaining = iter(scores)
    return [(group, tuple(next(remaining) for _ in group.rollouts)) for group in groups]
