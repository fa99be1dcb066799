"""Says in words when a run goes wrong in a way that its numbers show and its loss does not.

An alarm names the cause and the remedy. The same one comes at most every few steps. What the
alarms remember comes from the metrics alone, so replaying metrics.jsonl through ``check`` restores
them after a resume and finds them again for the report.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from rlreason.metrics import StepMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing that is wrong, with what to do."""

    step: int
    name: str
    """``no_signal``, ``refill``, ``truncation``, ``mismatch``, ``entropy``, ``skipped_update``."""
    cause: str
    """Which of the alarm's causes: an alarm whose cause changed is news, else it is repetition."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmLimits:
    """Where normal ends."""

    truncated_frac: float = 0.5
    """A larger share of truncated completions raises an alarm."""
    mismatch_ratio: float = 5.0
    """So many times the baseline of mismatch_abs raises an alarm."""
    mismatch_floor: float = 1e-5
    """Nats; growth below this is rounding."""
    mismatch_limit: float | None = None
    """Nats; above it an alarm comes whatever the baseline. The learner stops the run there."""
    entropy_ratio: float = 0.1
    """Entropy below this share of its baseline raises an alarm."""
    baseline_steps: int = 10
    """The baseline is the median over the first so many steps that learned."""
    repeat_steps: int = 10
    """Steps before the same alarm is raised again."""
    skipped_in_row: int = 3
    """So many skipped updates in a row are more than bad luck; the trainer stops the run."""


class Alarms:
    """Checks each step's metrics against the run's own beginning and against limits."""

    def __init__(self, limits: AlarmLimits | None = None) -> None:
        self.limits = limits or AlarmLimits()
        self._first_entropy: list[float] = []
        self._first_mismatch: list[float] = []
        self._last_raised: dict[tuple[str, str], int] = {}
        self._skipped_in_row = 0

    @property
    def skipped_in_row(self) -> int:
        """Updates skipped since the last good one; a step without an update changes nothing."""
        return self._skipped_in_row

    @property
    def must_stop(self) -> bool:
        """Whether skipped updates have become a diverged run."""
        return self._skipped_in_row >= self.limits.skipped_in_row

    def check(self, metrics: StepMetrics) -> list[Alarm]:
        """Every alarm of this step that is not a mere repetition."""
        if metrics.skipped:
            self._skipped_in_row += 1
        elif metrics.learned:
            self._skipped_in_row = 0
        found = [
            Alarm(step=metrics.step, name=n, cause=c, message=m) for n, c, m in self._find(metrics)
        ]
        self._extend_baseline(metrics)
        return [alarm for alarm in found if self._is_news(alarm)]

    def _find(self, metrics: StepMetrics) -> Iterator[tuple[str, str, str]]:
        if metrics.num_rollouts and metrics.signal_frac == 0:
            cause = _no_signal_cause(metrics)
            yield "no_signal", cause, f"no group has signal: {_NO_SIGNAL[cause].format(m=metrics)}"
        if metrics.refill is not None and metrics.refill.missing:
            yield "refill", "", _REFILL.format(m=metrics)
        if metrics.truncated_frac > self.limits.truncated_frac:
            yield "truncation", "", _TRUNCATION.format(m=metrics)
        if metrics.skipped:
            count = self._skipped_in_row
            yield "skipped_update", f"{count} in a row", _SKIPPED.format(count=count)
        yield from self._mismatch(metrics)
        yield from self._entropy(metrics)

    def _mismatch(self, metrics: StepMetrics) -> Iterator[tuple[str, str, str]]:
        value, limit = _equal_weights_gap(metrics), self.limits.mismatch_limit
        if value is None:
            return
        gap = f"rollout and learner logprobs differ by {value:.2g} nats"
        baseline = self._baseline(self._first_mismatch)
        if limit is not None and value > limit:
            yield "mismatch", "limit", f"{gap}, above the limit of {limit:.2g}: {_MISMATCH}"
        elif baseline is not None and value > self._mismatch_bar(baseline):
            yield "mismatch", "growth", f"{gap}, in the first steps {baseline:.2g}: {_MISMATCH}"

    def _mismatch_bar(self, baseline: float) -> float:
        return max(self.limits.mismatch_ratio * baseline, self.limits.mismatch_floor)

    def _entropy(self, metrics: StepMetrics) -> Iterator[tuple[str, str, str]]:
        value, baseline = metrics.entropy, self._baseline(self._first_entropy)
        if value is None or baseline is None:
            return
        if value < self.limits.entropy_ratio * baseline:  # false for the NaN of a skipped update
            yield "entropy", "", _ENTROPY.format(value=value, baseline=baseline)

    def _baseline(self, values: list[float]) -> float | None:
        return statistics.median(values) if len(values) == self.limits.baseline_steps else None

    def _extend_baseline(self, metrics: StepMetrics) -> None:
        gap = _equal_weights_gap(metrics)
        if not metrics.learned or metrics.entropy is None or gap is None:
            return
        if len(self._first_entropy) < self.limits.baseline_steps:
            self._first_entropy.append(metrics.entropy)
            self._first_mismatch.append(gap)

    def _is_news(self, alarm: Alarm) -> bool:
        key = (alarm.name, alarm.cause)
        last = self._last_raised.get(key)
        if last is not None and alarm.step - last < self.limits.repeat_steps:
            return False
        self._last_raised[key] = alarm.step
        return True


def _equal_weights_gap(metrics: StepMetrics) -> float | None:
    """What engine and learner differ by on the same weights, nats.

    A step that was sampled one version behind also differs by what the policy has moved.
    """
    return metrics.mismatch_abs if metrics.ahead is None else metrics.ahead.sampler_gap


def _no_signal_cause(metrics: StepMetrics) -> str:
    """The most telling reason: what hides the model comes before what the model did."""
    outcomes = metrics.outcome_fracs
    unread = sum(outcomes.get(name, 0.0) for name in ("unparseable", "over_limit"))
    broken = sum(outcomes.get(name, 0.0) for name in ("timeout", "crash"))
    causes = {
        "infra": outcomes.get("infra", 0.0) > 0.5,
        "all_right": metrics.solved_frac > 0.5,
        "truncated": metrics.truncated_frac > 0.5 and metrics.solved_frac == 0,
        "unparseable": unread > 0.5,
        "reward_fails": broken > 0.5,
        "all_wrong": metrics.hopeless_frac > 0.5,
    }
    return next((name for name, holds in causes.items() if holds), "all_equal")


_NO_SIGNAL = {
    "infra": (
        "{m.outcome_fracs[infra]:.0%} of the scores are scorer faults (infra), not the model's; "
        "see the log for the reward that fails and what it needs"
    ),
    "all_right": (
        "{m.solved_frac:.0%} of the groups are all right; the problems are too easy by now. Add "
        "harder pools, or let a curriculum move to them"
    ),
    "truncated": (
        "{m.truncated_frac:.0%} of the completions are cut before they end; raise "
        "rollout.max_completion_tokens or shorten what the prompt asks for"
    ),
    "unparseable": (
        "in most completions the reward finds no answer to read; show the answer format in the "
        "prompt (prompt.system, prompt.shots) or add a format reward"
    ),
    "reward_fails": (
        "on most completions the reward times out or crashes; try it with `rlreason reward` or "
        "raise scoring.time_limit_s"
    ),
    "all_wrong": (
        "{m.hopeless_frac:.0%} of the groups are all wrong; the problems are too hard for this "
        "model. Add easier pools, raise rollout.group_size, or check that the answers are right"
    ),
    "all_equal": (
        "inside each group all scores are equal ({m.solved_frac:.0%} of the groups all right, "
        "{m.hopeless_frac:.0%} all wrong). Raise rollout.group_size, or use pools of medium "
        "difficulty or a reward with finer steps"
    ),
}
_REFILL = (
    "the step lacks {m.refill.missing} groups that teach after {m.refill.extra_rollouts} extra "
    "completions, the limit of rollout.refill.max_extra; it learns from the others alone. Raise "
    "the limit, or let the curriculum leave pools that are all right or all wrong"
)
_TRUNCATION = (
    "{m.truncated_frac:.0%} of the completions are cut at rollout.max_completion_tokens and seldom "
    "hold an answer; raise it. If the text runs on after the answer, the model lacks its "
    "end-of-turn token: check the chat template and the tokenizer's eos_token"
)
_ENTROPY = (
    "entropy fell to {value:.2g} nats per token from {baseline:.2g} in the first steps: the policy "
    "hardly explores any more. If the reward is not near its best, lower learner.learning_rate, "
    "raise algorithm.clip_high or set algorithm.entropy_bonus"
)
_SKIPPED = (
    "loss or gradient was not finite; the update was skipped with parameters unchanged "
    "({count} in a row). Lower learner.learning_rate or use model.dtype = float32"
)
_MISMATCH = (
    "the engine may sample from older or other weights than the learner holds. Check the "
    "publication of weights, and that engine and learner use the same dtype and temperature"
)
