"""From finished trials to what a sweep shows: a summary of every arm, a comparison of each with the
baseline.

What counts (last evaluations, pools, threshold, baseline) was fixed in the sweep's file. A
comparison uses the seeds that both sides have finished, and says how many those are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from rlreason.config import SweepConfig
from rlreason.errors import DataError
from rlreason.sweep.results import TrialResult
from rlreason.sweep.stats import (
    Effect,
    Verdict,
    area,
    first_reach,
    holm,
    interquartile_mean,
    largest_contributor,
    paired_difference,
    paired_effect,
    restricted,
    seed_effect,
    verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """When the runs of an arm reach the threshold, in steps or tokens."""

    times: tuple[int | None, ...]
    """One per seed; None: not within the run."""
    ends: tuple[int, ...]
    """How far each run went."""

    def __str__(self) -> str:
        """The median, or that more than half did not arrive, and how many did."""
        arrived = [time for time in self.times if time is not None]
        count = f"({len(arrived)}/{len(self.times)})"
        middle = median(time if time is not None else np.inf for time in self.times)
        return f"{middle:,.0f} {count}" if np.isfinite(middle) else f"> {max(self.ends):,} {count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """One arm, over its finished seeds."""

    arm: str
    seeds: tuple[int, ...]
    final: tuple[float, ...]
    """Final accuracy of each seed: mean over pools, over the last k evaluations."""
    iqm: float
    """Interquartile mean of the final accuracies over seeds and pools."""
    area: float
    """Mean accuracy over the whole run."""
    steps: Reach
    tokens: Reach
    final_by_pool: Mapping[str, float]
    """Every pool, those that do not count too."""
    num_filled: int
    """Values that infra faults had hidden."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One arm against the baseline, on the seeds that both finished."""

    arm: str
    seeds: tuple[int, ...]
    final: Effect
    corrected_p: float
    """Holm's, over all comparisons of final accuracy."""
    verdict: Verdict
    area: Effect
    steps: Effect
    """Mean over runs of min(steps to threshold, length of the run); negative is faster."""
    tokens: Effect
    left_out: str | None
    """The pool that contributes most to the difference."""
    without: Effect | None
    """Final accuracy without that pool."""
    by_pool: Mapping[str, Effect]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """All that a sweep shows."""

    baseline: str
    pools: tuple[str, ...]
    arms: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]
    """None for an arm without a seed in common with the baseline."""


def analyse(
    results: Sequence[TrialResult], config: SweepConfig, *, baseline: str, pools: Sequence[str]
) -> Analysis:
    """Summaries and comparisons of all finished trials.

    Raises:
        DataError: If trials cannot be paired: other problems, or evaluated at other versions.
    """
    _check_pairs(results)
    by_arm: dict[str, list[TrialResult]] = {}
    for result in sorted(results, key=lambda result: result.seed):
        by_arm.setdefault(result.arm, []).append(result)
    order = dict.fromkeys(result.arm for result in results)
    summaries = tuple(_summary(by_arm[arm], pools, config) for arm in order)
    compared = [
        _comparison(by_arm[arm], by_arm[baseline], pools, config)
        for arm in order
        if arm != baseline and baseline in by_arm and _common(by_arm[arm], by_arm[baseline])
    ]
    return Analysis(
        baseline=baseline,
        pools=tuple(pools),
        arms=summaries,
        comparisons=_corrected(compared),
    )


def _check_pairs(results: Sequence[TrialResult]) -> None:
    for result in results[1:]:
        first = results[0]
        if result.problems != first.problems:
            raise DataError(
                f"trials {first.name} and {result.name} hold different problems out, so nothing "
                "can be compared problem by problem; pools and held_out must be the same"
            )
        if result.versions != first.versions:
            raise DataError(
                f"trials {first.name} and {result.name} were evaluated at different versions "
                f"({list(first.versions)} and {list(result.versions)}); they cannot be compared"
            )


def _summary(runs: Sequence[TrialResult], pools: Sequence[str], config: SweepConfig) -> ArmSummary:
    last, threshold = config.metrics.last, config.metrics.threshold
    finals = {pool: final_scores(runs, [pool], last)[pool] for pool in runs[0].problems}
    counted = {pool: finals[pool] for pool in pools}
    curves = [run.curve(pools) for run in runs]
    return ArmSummary(
        arm=runs[0].arm,
        seeds=tuple(run.seed for run in runs),
        final=tuple(np.mean([values.mean(axis=1) for values in counted.values()], axis=0)),
        iqm=interquartile_mean(counted),
        area=float(
            np.mean([area(curve, run.versions) for curve, run in zip(curves, runs, strict=True)])
        ),
        steps=_reach(curves, [run.versions for run in runs], threshold),
        tokens=_reach(curves, [run.tokens for run in runs], threshold),
        final_by_pool={pool: float(values.mean()) for pool, values in finals.items()},
        num_filled=sum(run.num_filled for run in runs),
    )


def final_scores(
    runs: Sequence[TrialResult], pools: Sequence[str], last: int
) -> dict[str, np.ndarray]:
    """Pool -> [seeds, problems]: mean over the last evaluations."""
    return {
        pool: np.array([run.correct[pool][-last:].mean(axis=0) for run in runs]) for pool in pools
    }


def _areas(runs: Sequence[TrialResult], pools: Sequence[str]) -> dict[str, np.ndarray]:
    return {
        pool: np.array([area(run.correct[pool], run.versions) for run in runs]) for pool in pools
    }


def _reach(curves: Sequence[np.ndarray], at: Sequence[Sequence[int]], threshold: float) -> Reach:
    return Reach(
        times=tuple(
            first_reach(curve, place, threshold) for curve, place in zip(curves, at, strict=True)
        ),
        ends=tuple(place[-1] for place in at),
    )


def _common(runs: Sequence[TrialResult], others: Sequence[TrialResult]) -> list[int]:
    return sorted({run.seed for run in runs} & {run.seed for run in others})


def _comparison(
    runs: Sequence[TrialResult],
    base_runs: Sequence[TrialResult],
    pools: Sequence[str],
    config: SweepConfig,
) -> Comparison:
    seeds = _common(runs, base_runs)
    ours, base = ([run for run in side if run.seed in seeds] for side in (runs, base_runs))
    last = config.metrics.last
    every = paired_difference(
        final_scores(ours, list(ours[0].problems), last),
        final_scores(base, list(base[0].problems), last),
    )
    counted = {pool: every[pool] for pool in pools}
    left_out = largest_contributor(counted)
    rest = {pool: values for pool, values in counted.items() if pool != left_out}
    return Comparison(
        arm=ours[0].arm,
        seeds=tuple(seeds),
        final=paired_effect(counted),
        corrected_p=1.0,
        verdict="not shown",
        area=paired_effect(paired_difference(_areas(ours, pools), _areas(base, pools))),
        steps=_sooner(ours, base, pools, config, tokens=False),
        tokens=_sooner(ours, base, pools, config, tokens=True),
        left_out=left_out,
        without=paired_effect(rest) if left_out else None,
        by_pool={pool: paired_effect({pool: values}) for pool, values in every.items()},
    )


def _sooner(
    runs: Sequence[TrialResult],
    base: Sequence[TrialResult],
    pools: Sequence[str],
    config: SweepConfig,
    *,
    tokens: bool,
) -> Effect:
    """Restricted mean difference: whoever has not arrived counts up to the shortest run's end."""

    def places(run: TrialResult) -> Sequence[int]:
        return run.tokens if tokens else run.versions

    horizon = min(places(run)[-1] for run in (*runs, *base))
    times = [
        [
            restricted(
                first_reach(run.curve(pools), places(run), config.metrics.threshold), horizon
            )
            for run in side
        ]
        for side in (runs, base)
    ]
    return seed_effect([ours - theirs for ours, theirs in zip(*times, strict=True)])


def _corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    corrected = holm([comparison.final.p for comparison in comparisons])
    return tuple(
        replace(comparison, corrected_p=p, verdict=verdict(comparison.final, p))
        for comparison, p in zip(comparisons, corrected, strict=True)
    )
