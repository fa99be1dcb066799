"""Held-out evaluation: greedy accuracy, avg@k and pass@k with intervals, per pool and overall.

What is measured here is read by people only. It never reaches the curriculum, which would then
have been fitted to the held-out problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter
from rich.table import Table

from rlreason.config import EvaluationSection
from rlreason.errors import ConfigError, StalePolicyError, TrainingStopped
from rlreason.estimates import Estimate, fraction_estimate, mean_estimate, pass_at_k
from rlreason.problem_results import ProblemResult, write_results
from rlreason.protocols import RolloutEngine, Scorer
from rlreason.types import Problem, RolloutGroup, Score

_Scored = tuple[RolloutGroup, tuple[Score, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEvaluation:
    """What a set of held-out problems showed. Problems weigh equally.

    Completions whose scoring failed by our own fault (``infra``) are left out of every accuracy.
    """

    num_problems: int
    greedy: Estimate
    """Share of problems whose greedy completion is correct."""
    avg_at_k: Estimate | None
    """Mean share of correct samples; None without samples."""
    pass_at_k: dict[int, Estimate]
    """k -> mean unbiased pass@k, for the powers of two up to the samples, and the samples."""
    mean_tokens: float
    """Tokens per greedy completion."""
    truncated_frac: float
    """Share of greedy completions that were cut at max_completion_tokens."""
    unparseable_frac: float
    """Share of greedy completions in which the reward found no answer to judge."""
    num_infra: int
    """Completions, sampled ones included, that our own faults left without a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One policy version on all held-out problems."""

    version: int
    samples: int
    """Sampled completions per problem: the k of avg@k."""
    pools: dict[str, PoolEvaluation]
    overall: PoolEvaluation
    """All problems in one set, so that a large pool counts more."""
    macro_greedy: float
    """Mean of the pools' greedy accuracies: every pool counts the same."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values; ``from_json`` gives the same evaluation back."""
        values: dict[str, Any] = _EVALUATION.dump_python(self, mode="json")
        return values

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Evaluation:
        """Read what ``to_json`` gave."""
        return _EVALUATION.validate_python(dict(values))


_EVALUATION = TypeAdapter(Evaluation)


class Evaluator:
    """Evaluates the policy that the engine holds."""

    def __init__(
        self,
        engine: RolloutEngine,
        scorer: Scorer,
        held_out: Mapping[str, Sequence[Problem]],
        config: EvaluationSection,
        bounds: Mapping[str, tuple[float, float]],
        folder: Path,
    ) -> None:
        """Nothing is sampled yet.

        Args:
            engine: Samples the completions.
            scorer: Scores them with the evaluation reward of their pool.
            held_out: Pool -> problems that training never draws.
            config: How many samples.
            bounds: Pool -> lowest and highest value of its evaluation reward.
            folder: The run folder.
        """
        self._engine = engine
        self._scorer = scorer
        self._samples = config.samples
        self._folder = folder / "evaluations"
        self._problems = [problem for problems in held_out.values() for problem in problems]
        if not self._problems:
            raise ConfigError(
                "evaluation: no pool holds problems out; set pools[].held_out above 0, or "
                "evaluation.every = 0"
            )
        self.right_from = {
            pool: right_from(*bounds[pool]) for pool, problems in held_out.items() if problems
        }

    def evaluate(self, version: int) -> Evaluation:
        """Measure policy ``version`` and write each problem's result to the run folder.

        Raises:
            StalePolicyError: If a completion came from another version.
            TrainingStopped: If scorer faults left a pool without one scored greedy completion.
        """
        greedy = self._complete(version, samples=1, greedy=True)
        sampled = self._complete(version, samples=self._samples, greedy=False)
        results = [
            self._result(version, greedy[problem.key], sampled.get(problem.key))
            for problem in self._problems
        ]
        write_results(self._folder / f"{version:06d}.parquet", results)
        return _summarize(version, self._samples, results)

    def _complete(self, version: int, *, samples: int, greedy: bool) -> dict[str, _Scored]:
        """Scored completions of every problem, by the problem's key; nothing for 0 samples."""
        if samples == 0:
            return {}
        groups = self._engine.evaluate(self._problems, samples=samples, greedy=greedy)
        scored = {
            group.problem.key: (group, scores) for group, scores in self._scorer.score(groups)
        }
        assert scored.keys() == {problem.key for problem in self._problems}, "a problem was lost"
        versions = {
            rollout.policy_version for group, _ in scored.values() for rollout in group.rollouts
        }
        if versions != {version}:
            raise StalePolicyError(
                f"evaluation of version {version}: the engine's completions are of "
                f"version {sorted(versions)}"
            )
        return scored

    def _result(self, version: int, greedy: _Scored, sampled: _Scored | None) -> ProblemResult:
        group, (score,) = greedy
        (rollout,) = group.rollouts
        rollouts, scores = (sampled[0].rollouts, sampled[1]) if sampled else ((), ())
        right_from = self.right_from[group.problem.pool]
        judged = [sample for sample in scores if sample.outcome != "infra"]
        return ProblemResult(
            version=version,
            pool=group.problem.pool,
            problem_id=group.problem.id,
            greedy_correct=None if score.outcome == "infra" else score.value >= right_from,
            greedy_completion=rollout.completion,
            greedy_tokens=len(rollout.completion_ids),
            greedy_finish_reason=rollout.finish_reason,
            greedy_outcome=score.outcome,
            greedy_score=score.value,
            num_samples=len(judged),
            num_correct=sum(sample.value >= right_from for sample in judged),
            num_infra=len(scores) - len(judged) + (score.outcome == "infra"),
            mean_sample_tokens=(
                fmean(len(sample.completion_ids) for sample in rollouts) if rollouts else None
            ),
        )


def comparison_table(before: Evaluation, after: Evaluation) -> Table:
    """What a run changed: one row per pool, then all problems, then the mean over pools.

    A dash stands where there is nothing to compare with: a pool that the run began with later, and
    all problems together where they are of other pools.
    """
    table = Table(
        title=f"held-out problems, version {before.version} -> {after.version} (95 % intervals)"
    )
    table.add_column("pool")
    for column in ("problems", "greedy before", "greedy after", "tokens"):
        table.add_column(column, justify="right")
    if before.samples or after.samples:
        table.add_column(f"avg@{before.samples} before", justify="right")
        table.add_column(f"avg@{after.samples} after", justify="right")
    for name, pool in after.pools.items():
        table.add_row(name, *_cells(before.pools.get(name), pool))
    table.add_section()
    same = before.pools.keys() == after.pools.keys()
    table.add_row("all problems", *_cells(before.overall if same else None, after.overall))
    macro = f"{before.macro_greedy:.3f}" if same else "-"
    table.add_row("mean over pools", "", macro, f"{after.macro_greedy:.3f}")
    return table


def _cells(before: PoolEvaluation | None, after: PoolEvaluation) -> list[str]:
    averages = (before and before.avg_at_k, after.avg_at_k)
    return [
        str(after.num_problems),
        str(before.greedy) if before else "-",
        str(after.greedy),
        f"{before.mean_tokens:.1f} -> {after.mean_tokens:.1f}" if before else "-",
        *(str(average or "-") for average in averages if any(averages)),
    ]


def right_from(low: float, high: float) -> float:
    """Lowest score that is correct: the upper bound, less what adding weighted parts rounds off."""
    return high - 1e-9 * (high - low)


def _summarize(version: int, samples: int, results: Sequence[ProblemResult]) -> Evaluation:
    by_pool: dict[str, list[ProblemResult]] = {}
    for result in results:
        by_pool.setdefault(result.pool, []).append(result)
    pools = {name: _pool_evaluation(rows, samples) for name, rows in by_pool.items()}
    return Evaluation(
        version=version,
        samples=samples,
        pools=pools,
        overall=_pool_evaluation(results, samples),
        macro_greedy=fmean(pool.greedy.mean for pool in pools.values()),
    )


def _pool_evaluation(results: Sequence[ProblemResult], samples: int) -> PoolEvaluation:
    greedy = [row.greedy_correct for row in results if row.greedy_correct is not None]
    if not greedy:
        raise TrainingStopped(
            f"evaluation of version {results[0].version}: the scorer failed on every greedy "
            f"completion of pool {results[0].pool!r}, so there is nothing to report; see the log "
            "for the reward's faults"
        )
    sampled = [row for row in results if row.num_samples]
    shares = [row.num_correct / row.num_samples for row in sampled]
    passes = {
        k: [
            pass_at_k(row.num_samples, row.num_correct, k)
            for row in sampled
            if row.num_samples >= k
        ]
        for k in _ks(samples)
    }
    return PoolEvaluation(
        num_problems=len(results),
        greedy=fraction_estimate(greedy),
        avg_at_k=mean_estimate(shares) if shares else None,
        pass_at_k={k: mean_estimate(values) for k, values in passes.items() if values},
        mean_tokens=fmean(row.greedy_tokens for row in results),
        truncated_frac=fmean(row.greedy_finish_reason == "length" for row in results),
        unparseable_frac=fmean(row.greedy_outcome == "unparseable" for row in results),
        num_infra=sum(row.num_infra for row in results),
    )


def _ks(samples: int) -> list[int]:
    """1, 2, 4, ... up to ``samples``, and ``samples`` itself; none for 0."""
    powers = {2**exponent for exponent in range(samples.bit_length())}
    return sorted(powers | {samples}) if samples else []
