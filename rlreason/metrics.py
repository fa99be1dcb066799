"""What one step amounted to: ``summarize`` makes the record, one JSON line of metrics.jsonl.

The field names of ``StepMetrics`` are the metric keys everywhere: in the file, in the trackers,
in the report. A number that a step could not have is None, never 0: a step without an update has
no loss, a replayed one no rollout speed.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

from rlreason.draw_history import RunUse
from rlreason.errors import DataError
from rlreason.loop_metrics import AheadMetrics, ControlMetrics, RefillMetrics
from rlreason.pool_metrics import (
    Bounds,
    PoolMetrics,
    at_bound,
    counted_scores,
    mean,
    pool_metrics,
    rollouts,
    share,
)
from rlreason.types import Outcome, ScoredGroup, UpdateStats

WORK_PHASES = (
    "rollout", "score", "reference", "learn", "wait", "publish", "checkpoint", "evaluate",
)  # fmt: skip
"""Phases that do a run's work; whatever else a step spends is the loop's overhead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """One step, as it is logged and shown."""

    step: int
    policy_version: int
    """Version that the rollouts were sampled from; the step produces the next."""
    replayed: bool
    """True when the rollouts came from the journal of an earlier attempt."""

    reward_mean: float | None
    """Over all completions whose scoring was not hidden by an ``infra`` fault."""
    reward_std: float | None
    """Population standard deviation over the same completions."""
    reward_parts: Mapping[str, float | None]
    """Mean of each named part, over the completions that have it."""
    signal_frac: float
    """Share of groups with a non-zero advantage: the others teach nothing."""
    solved_frac: float
    """Share of groups in which every completion has the reward's highest value."""
    hopeless_frac: float
    """Share of groups in which every completion has the reward's lowest value."""
    outcome_fracs: Mapping[str, float]
    """Share of completions per scoring outcome."""

    completion_tokens_mean: float
    completion_tokens_max: int
    truncated_frac: float
    """Share of completions cut at rollout.max_completion_tokens."""
    prompt_tokens_mean: float
    """Over groups."""
    num_rollouts: int
    rollout_tokens: int
    """Completion tokens sampled."""
    rollout_tokens_so_far: int
    """Completion tokens sampled since the run began, this step included."""

    learned: bool
    """False when the policy was left unchanged: no group had signal, or the update was skipped."""
    skipped: bool
    """True when a non-finite loss or gradient left parameters and optimizer unchanged."""
    loss: float | None
    grad_norm: float | None
    """Before clipping."""
    learning_rate: float | None
    entropy: float | None
    """Nats per token."""
    clip_frac: float | None
    """Share of tokens whose loss the clip changed."""
    bounded_frac: float | None
    """Share of tokens whose importance weight was bounded or masked (``algorithm.correction``)."""
    mismatch_kl: float | None
    """k3 estimate of KL(rollout policy, learner policy), nats per token."""
    mismatch_abs: float | None
    """Mean absolute gap between rollout and learner logprobs, nats."""
    kl: float | None
    """To the reference, nats per token."""
    num_tokens: int | None
    """Tokens that went through forward and backward."""
    padding_frac: float | None
    """Share of the learner's computed positions that were padding."""

    refill: RefillMetrics | None
    """None without rollout.refill."""
    greedy_tokens: int
    """Completion tokens of greedy baselines; rollout_tokens does not count them."""
    control: ControlMetrics | None
    """None without a KL or entropy term."""

    pools: Mapping[str, PoolMetrics]
    draw_entropy: float
    """Entropy of the curriculum's weights, nats; ln(number of pools) when uniform."""

    phase_s: Mapping[str, float]
    """Exclusive seconds per phase."""
    step_s: float
    overhead_frac: float | None
    """Share of the step outside rollout, score, learn, publish, checkpoint and evaluate."""
    rollout_tokens_per_s: float | None
    learner_tokens_per_s: float | None
    peak_rss_gib: float
    """Largest resident memory of the driver process so far."""

    ahead: AheadMetrics | None = None
    """None with rollout.lag = 0."""


def summarize(  # noqa: PLR0913  one argument per thing that a step leaves behind
    *,
    step: int,
    version: int,
    replayed: bool,
    weights: Mapping[str, float],
    scored: Sequence[ScoredGroup],
    update: UpdateStats | None,
    curriculum_terms: Mapping[str, Mapping[str, float]],
    bounds: Mapping[str, Bounds],
    use: RunUse,
    phase_s: Mapping[str, float],
    step_s: float,
    refill: RefillMetrics | None = None,
    control: ControlMetrics | None = None,
    ahead: AheadMetrics | None = None,
    rollout_s: float | None = None,
) -> StepMetrics:
    """Condense one step into its record.

    ``version`` sampled the rollouts; ``scored`` holds all groups, those without signal included;
    ``update`` is None when no group had signal; ``curriculum_terms`` is ``Curriculum.metrics()``;
    ``bounds`` maps a pool to the lowest and highest value of its reward; ``use`` is
    ``DrawHistory.observe`` of the same groups; ``phase_s`` is exclusive;
    ``rollout_s`` is the engine's time for these rollouts where the step's own phase is not.
    """
    if rollout_s is None:
        rollout_s = phase_s.get("rollout", 0.0)
    lengths, learned = _length_fields(scored), update.num_tokens if update else 0
    return StepMetrics(
        step=step,
        policy_version=version,
        replayed=replayed,
        **_reward_fields(scored, bounds),
        **lengths,
        rollout_tokens_so_far=use.tokens_so_far,
        learned=update is not None and not update.skipped,
        **_update_fields(update),
        refill=refill,
        greedy_tokens=_greedy_tokens(scored),
        control=control,
        pools=pool_metrics(weights, scored, curriculum_terms, bounds, use.pools),
        draw_entropy=-sum(p * math.log(p) for p in weights.values() if p > 0),
        **_time_fields(phase_s, step_s, learned=learned),
        rollout_tokens_per_s=lengths["rollout_tokens"] / rollout_s if rollout_s > 0 else None,
        peak_rss_gib=_peak_rss_gib(),
        ahead=ahead,
    )


def to_json(metrics: StepMetrics) -> str:
    """One line of strict JSON; a number that is not finite becomes null."""
    return json.dumps(_finite(asdict(metrics)), allow_nan=False, separators=(",", ":"))


def from_json(line: str) -> StepMetrics:
    """Read a line that ``to_json`` wrote.

    Raises:
        DataError: If the line is not a row of metrics, naming the fields that do not fit.
    """
    try:
        row = dict(json.loads(line))
    except (TypeError, ValueError) as error:
        raise DataError(f"a row of metrics is not a JSON object: {line!r:.80}: {error}") from None
    row.setdefault("ahead", None)  # rows from before there was such a thing
    expected, found = {field.name for field in fields(StepMetrics)}, set(row)
    if found != expected:
        raise DataError(
            f"a row of metrics lacks {sorted(expected - found)} and has unknown "
            f"{sorted(found - expected)}; it was written by another version of rlreason"
        )
    row["pools"] = {name: PoolMetrics(**pool) for name, pool in row["pools"].items()}
    row["refill"] = row["refill"] and RefillMetrics(**row["refill"])
    row["control"] = row["control"] and ControlMetrics(**row["control"])
    row["ahead"] = row["ahead"] and AheadMetrics(**row["ahead"])
    return StepMetrics(**row)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _reward_fields(scored: Sequence[ScoredGroup], bounds: Mapping[str, Bounds]) -> dict[str, Any]:
    counted = counted_scores(scored)
    values = [score.value for score in counted]
    parts: dict[str, list[float]] = defaultdict(list)
    for score in counted:
        for name, value in score.parts.items():
            parts[name].append(value)
    outcomes = Counter(score.outcome for item in scored for score in item.scores)
    return {
        "reward_mean": mean(values),
        "reward_std": statistics.pstdev(values) if values else None,
        "reward_parts": {name: statistics.fmean(items) for name, items in sorted(parts.items())},
        "signal_frac": share([item.has_signal for item in scored]),
        "solved_frac": share(at_bound(scored, bounds, 1)),
        "hopeless_frac": share(at_bound(scored, bounds, 0)),
        "outcome_fracs": {
            name: outcomes[name] / max(outcomes.total(), 1) for name in get_args(Outcome)
        },
    }


def _length_fields(scored: Sequence[ScoredGroup]) -> dict[str, Any]:
    lengths = [len(rollout.completion_ids) for rollout in rollouts(scored)]
    prompts = [len(item.group.rollouts[0].prompt_ids) for item in scored]
    return {
        "completion_tokens_mean": mean(lengths) or 0.0,
        "completion_tokens_max": max(lengths, default=0),
        "truncated_frac": share([r.finish_reason == "length" for r in rollouts(scored)]),
        "prompt_tokens_mean": mean(prompts) or 0.0,
        "num_rollouts": len(lengths),
        "rollout_tokens": sum(lengths),
    }


def _greedy_tokens(scored: Sequence[ScoredGroup]) -> int:
    baselines = [item.baseline for item in scored if item.baseline is not None]
    return sum(len(baseline.rollout.completion_ids) for baseline in baselines)


def _update_fields(update: UpdateStats | None) -> dict[str, Any]:
    if update is not None:
        return asdict(update)
    absent: dict[str, Any] = {field.name: None for field in fields(UpdateStats)}
    return absent | {"skipped": False}


def _time_fields(phase_s: Mapping[str, float], step_s: float, *, learned: int) -> dict[str, Any]:
    work_s = sum(phase_s.get(phase, 0.0) for phase in WORK_PHASES)
    learn_s = phase_s.get("learn", 0.0)
    return {
        "phase_s": dict(phase_s),
        "step_s": step_s,
        "overhead_frac": max(0.0, 1.0 - work_s / step_s) if step_s > 0 else None,
        "learner_tokens_per_s": learned / learn_s if learned and learn_s > 0 else None,
    }


def _peak_rss_gib() -> float:
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    per_gib = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_gib
