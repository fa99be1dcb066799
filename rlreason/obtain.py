"""Where a step's groups come from: drawn, sampled and scored now, or replayed from the journal.

Both go through the same draws, so cursors and refill rounds end the same. The journal commits a
step once, when it is complete: a kill between two rounds loses the rounds of this step alone, and
in deterministic mode they are sampled again to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rlreason.algorithms.advantages import ADVANTAGES, reward_table
from rlreason.clock import Clock
from rlreason.config import AlgorithmSection
from rlreason.errors import CheckpointError, StalePolicyError
from rlreason.faults import fault_point
from rlreason.journal import JournalEntry
from rlreason.kl_penalty import KlPenalty, kl_penalty
from rlreason.loop_metrics import RefillMetrics
from rlreason.refill import keep, next_count, refill_metrics, teaches
from rlreason.run import Run
from rlreason.types import Baseline, Problem, RolloutGroup, Score, ScoredGroup


class Answered(NamedTuple):
    """A group with its scores, before it is compared with anything."""

    group: RolloutGroup
    scores: tuple[Score, ...]
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A step before anything of it is sampled: all that its groups depend on but the weights."""

    step: int
    version: int
    """Policy version that the engine holds, to sample from."""
    weights: Mapping[str, float]
    """Pool -> probability of every draw of the step."""
    terms: Mapping[str, Mapping[str, float]]
    """Pool -> what is behind its weight."""
    problems: list[Problem]
    """The first draw."""
    cursors: Mapping[str, Any] | None
    """State of the pools before it, where it is drawn before the step of a checkpoint ends."""
    entry: JournalEntry | None
    """What an earlier attempt has journaled of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """The groups of one step, on the disk."""

    draw: Draw
    version: int
    """Policy version that they were sampled from."""
    rollout_s: float
    """Seconds in the engine; 0 when replayed."""
    scored: list[ScoredGroup]
    """Every group that was sampled: what the curriculum observes and the log counts."""
    kept: list[ScoredGroup]
    """Those that the update learns from; its denominator counts their tokens alone."""
    replayed: bool
    """Whether an earlier attempt had journaled them."""
    refill: RefillMetrics | None


def draw_step(run: Run, step: int, version: int, clock: Clock, *, early: bool = False) -> Draw:
    """Let the curriculum set the mix and draw the step's first problems.

    Args:
        run: The run.
        step: The step.
        version: What the engine holds.
        clock: Counts the time.
        early: Remember the pools' cursors as they were.
    """
    with clock.phase("draw"):
        weights, terms = run.curriculum.weights(), run.curriculum.metrics()
        cursors = run.pools.state_dict() if early else None
        count = run.config.rollout.problems_per_step
        problems = run.pools.draw(step, count, weights, refill=0)
    return Draw(
        step=step,
        version=version,
        weights=weights,
        terms=terms,
        problems=problems,
        cursors=cursors,
        entry=run.journal.read(step),
    )


def obtain(run: Run, draw: Draw, clock: Clock) -> Obtained:
    """Draw on until the step is full; each draw is sampled and scored, or found in the journal.

    Raises:
        CheckpointError: If the journal holds other problems than this run draws.
        StalePolicyError: If a completion was not sampled from ``draw.version``.
    """
    rollout, entry, before_s = run.config.rollout, draw.entry, clock.seconds.get("rollout", 0.0)
    answered: list[Answered] = []
    teaching: list[bool] = []
    problems, rounds = draw.problems, 0
    while problems:
        if entry is not None:
            found = replay(entry, problems, first_slot=len(answered))
        else:
            found = sample(run, draw, problems, clock, first_slot=len(answered))
        if rollout.refill is not None:
            teaching += [teaches(_compared(one), rollout.refill.part) for one in found]
        answered += found
        rounds += 1
        count = next_count(kept=sum(teaching), seen=len(answered), rollout=rollout)
        with clock.phase("draw"):
            problems = _draw_more(run, draw, count, rounds)
    if entry is not None:
        scored = _replayed(entry, len(answered))
    else:
        scored = _commit(run, draw, answered, clock)
    kept = keep(scored, teaching, rollout)
    return Obtained(
        draw=draw,
        version=draw.version if entry is None else entry.policy_version,
        rollout_s=clock.seconds.get("rollout", 0.0) - before_s,
        scored=scored,
        kept=kept,
        replayed=entry is not None,
        refill=refill_metrics(rounds=rounds, seen=len(scored), kept=len(kept), rollout=rollout),
    )


def _draw_more(run: Run, draw: Draw, count: int, rounds: int) -> list[Problem]:
    if count == 0:
        return []
    return run.pools.draw(draw.step, count, draw.weights, refill=rounds)


def sample(
    run: Run, draw: Draw, problems: Sequence[Problem], clock: Clock, *, first_slot: int
) -> list[Answered]:
    """Sample a group per problem and score each group while the engine goes on.

    Raises:
        StalePolicyError: If a completion was not sampled from ``draw.version``.
    """
    step, version = draw.step, draw.version
    fault_point("refill" if first_slot else "rollout", step)
    with clock.phase("score"):
        groups = run.engine.generate(
            problems,
            step=step,
            first_slot=first_slot,
            with_greedy=run.config.algorithm.needs_greedy,
        )
        pairs = run.scorer.score(clock.iterate("rollout", groups))
        fault_point("score", step)
    versions = {rollout.policy_version for group, _ in pairs for rollout in group.rollouts}
    if versions != {version}:
        raise StalePolicyError(
            f"step {step} samples from policy version {version}, but the engine reports "
            f"{sorted(versions)}; nothing was learned from this step. The publication of version "
            f"{version} did not reach the engine"
        )
    baselines = {
        group.slot: Baseline(rollout=group.rollouts[0], score=scores[0])
        for group, scores in pairs
        if group.greedy
    }
    return [
        Answered(group, scores, baselines.get(group.slot))
        for group, scores in pairs
        if not group.greedy
    ]


def replay(entry: JournalEntry, problems: Sequence[Problem], *, first_slot: int) -> list[Answered]:
    """The journaled groups of one draw, which must be of the problems that this run draws.

    Raises:
        CheckpointError: If the journal holds other problems.
    """
    groups = entry.scored[first_slot : first_slot + len(problems)]
    journaled = [group.problem.key for group in groups]
    drawn = [problem.key for problem in problems]
    if journaled != drawn:
        raise _other_run(entry, f"holds the problems {journaled[:3]}...", f"draws {drawn[:3]}...")
    return [Answered(one.group, one.scores, one.baseline) for one in groups]


def with_advantages(
    answered: Sequence[Answered], algorithm: AlgorithmSection, penalty: KlPenalty | None = None
) -> list[ScoredGroup]:
    """Compare each reward with others: the score, less the KL penalty where there is one.

    The scores stay as the reward gave them; only the advantages know of the penalty.
    """
    table = reward_table(
        [(one.group, one.scores) for one in answered],
        parts=tuple(algorithm.part_weights),
        costs=None if penalty is None else penalty.costs,
        baseline=[_greedy_reward(one) for one in answered] if algorithm.needs_greedy else None,
    )
    advantages = ADVANTAGES[algorithm.advantage](table, algorithm).tolist()
    nats = [None] * len(answered) if penalty is None else penalty.nats
    return [
        ScoredGroup(
            group=one.group,
            scores=one.scores,
            advantages=tuple(values),
            baseline=one.baseline,
            reference_kl=kl,
        )
        for one, values, kl in zip(answered, advantages, nats, strict=True)
    ]


def _greedy_reward(one: Answered) -> float:
    """NaN where a scorer fault hides it."""
    if one.baseline is None or one.baseline.score.outcome == "infra":
        return math.nan
    return one.baseline.score.value


def _commit(run: Run, draw: Draw, answered: Sequence[Answered], clock: Clock) -> list[ScoredGroup]:
    """Compare the groups and put the step on the disk: no kill from here on loses a rollout."""
    algorithm, penalty = run.config.algorithm, None
    if algorithm.kl_in != "loss":
        with clock.phase("reference"):
            groups = [one.group for one in answered]
            penalty = kl_penalty(run.learner, groups, algorithm, run.controls.penalty)
    scored = with_advantages(answered, algorithm, penalty)
    with clock.phase("journal"):
        run.journal.commit(
            draw.step, weights=draw.weights, scored=scored, policy_version=draw.version
        )
    return scored


def _replayed(entry: JournalEntry, seen: int) -> list[ScoredGroup]:
    """All groups of the entry, which must be as many as this run draws."""
    if len(entry.scored) != seen:
        raise _other_run(entry, f"holds {len(entry.scored)} groups", f"needs {seen}")
    return list(entry.scored)


def _other_run(entry: JournalEntry, there: str, here: str) -> CheckpointError:
    return CheckpointError(
        f"the journal of step {entry.step} {there}, but this run {here}: data, seed or curriculum "
        "changed since. Restore them, or start anew with --fresh"
    )


def _compared(one: Answered) -> tuple[Score, ...]:
    """The scores that an advantage of the group would come from."""
    return one.scores if one.baseline is None else (*one.scores, one.baseline.score)
