"""What the pools have given so far: which problems how often, and at how many sampled tokens.

Counted from the groups of each step, whether they were sampled or replayed, and saved with the
checkpoint: a run that was killed continues with the counts of one that was not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlreason.types import ScoredGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """How far one pool has been used, this step included."""

    reuse_mean: float | None
    """How often the problems of this step had been drawn before; None where none was drawn."""
    distinct_frac: float
    """Share of the pool's training problems that were drawn at least once."""
    draws_so_far: int
    tokens_so_far: int
    """Completion tokens sampled for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUse:
    """How far a run has used its pools, this step included."""

    pools: Mapping[str, PoolUse]
    tokens_so_far: int
    """Completion tokens sampled, those of pools that the run has no more included."""


class DrawHistory:
    """Counts draws and tokens of every pool over the whole run."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        """Nothing is drawn yet; ``sizes`` is each pool's number of training problems."""
        self._sizes = dict(sizes)
        self._times: dict[str, Counter[str]] = {name: Counter() for name in sizes}
        """Pool -> problem id -> how often it was drawn."""
        self._tokens = dict.fromkeys(sizes, 0)
        self._tokens_in_all = 0

    def observe(self, scored: Sequence[ScoredGroup]) -> RunUse:
        """Count every group that a step sampled; the use of the pools after it.

        A problem that comes twice in one step counts as drawn before the second time.
        """
        before: dict[str, list[int]] = {name: [] for name in self._sizes}
        for item in scored:
            name, problem_id = item.problem.pool, item.problem.id
            before[name].append(self._times[name][problem_id])
            self._times[name][problem_id] += 1
            tokens = sum(len(rollout.completion_ids) for rollout in item.group.rollouts)
            self._tokens[name] += tokens
            self._tokens_in_all += tokens
        return RunUse(
            pools={name: self._use(name, earlier) for name, earlier in before.items()},
            tokens_so_far=self._tokens_in_all,
        )

    def _use(self, name: str, earlier: Sequence[int]) -> PoolUse:
        times = self._times[name]
        return PoolUse(
            reuse_mean=sum(earlier) / len(earlier) if earlier else None,
            distinct_frac=len(times) / self._sizes[name] if self._sizes[name] else 0.0,
            draws_so_far=times.total(),
            tokens_so_far=self._tokens[name],
        )

    def state_dict(self) -> dict[str, Any]:
        """All counts, as JSON-ready values."""
        return {
            "tokens": self._tokens_in_all,
            "pools": {
                name: {"times": dict(self._times[name]), "tokens": self._tokens[name]}
                for name in self._sizes
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``. A pool that is new has no history; one that is gone loses it.

        Whether the pools may differ at all is for the curriculum and the pools to say.
        """
        self._tokens_in_all = state["tokens"]
        for name in self._sizes:
            saved = state["pools"].get(name, {"times": {}, "tokens": 0})
            self._times[name] = Counter(saved["times"])
            self._tokens[name] = saved["tokens"]
