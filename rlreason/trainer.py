"""The loop: draw, sample, score, journal, observe, learn, publish, record.

``train`` names the phases and keeps their order; ranks, retries and displays belong to the parts.
Policy version v is the weights after v steps; step s samples from version s and makes s + 1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlreason.algorithms.advantages import with_advantages
from rlreason.algorithms.batching import BatchRules, make_train_batches
from rlreason.checkpoint import Checkpointer
from rlreason.clock import Clock
from rlreason.config import GrpoConfig
from rlreason.errors import CheckpointError, StalePolicyError, TrainingStopped
from rlreason.evaluate import Evaluator
from rlreason.faults import fault_point
from rlreason.interrupts import Interrupts
from rlreason.journal import Journal, JournalEntry
from rlreason.metrics import summarize
from rlreason.protocols import (
    Curriculum,
    Learner,
    ProblemPools,
    RolloutEngine,
    Scorer,
    WeightPublisher,
)
from rlreason.recorder import Recorder
from rlreason.types import Problem, ScoredGroup, UpdateStats

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The built parts of one run."""

    config: GrpoConfig
    start_step: int
    """Version of the weights that learner and engine hold."""
    pools: ProblemPools
    curriculum: Curriculum
    engine: RolloutEngine
    scorer: Scorer
    bounds: Mapping[str, tuple[float, float]]
    """Pool -> bounds of its training reward."""
    learner: Learner
    publisher: WeightPublisher
    journal: Journal
    checkpointer: Checkpointer
    evaluator: Evaluator | None
    """None where no pool holds problems out, or evaluation.every is 0."""
    recorder: Recorder


def train(run: Run) -> None:
    """Train until ``run.steps``. The engine must already sample from version ``start_step``.

    Strictly on-policy: a step samples from the version that the step before it published.

    Raises:
        SystemExit: 130 or 143 after SIGINT or SIGTERM, once the step is done and saved.
    """
    run.recorder.start(run.start_step)
    evaluate_if_due(run, run.start_step)
    carried: dict[str, float] = {}
    with Interrupts() as interrupts:
        for step in range(run.start_step, run.config.run.steps):
            clock = Clock(carried)

            # 1. The curriculum sets the mix; the pools are drawn from it.
            with clock.phase("draw"):
                weights, terms = run.curriculum.weights(), run.curriculum.metrics()
                problems = run.pools.draw(step, run.config.rollout.problems_per_step, weights)

            # 2. Sample, score and journal, or take what a killed attempt has already paid for:
            #    a kill from here on loses no rollout.
            scored, replayed = obtain(run, step, problems, weights, clock)

            # 3. Before any filter, so that "nothing to learn here" is a signal too.
            with clock.phase("draw"):
                run.curriculum.observe(scored)

            # 4. One optimizer update (or updates_per_step) from the groups with signal.
            with clock.phase("learn"):
                update = learn(run, step, scored)

            # 5. The next step samples from what this one made.
            with clock.phase("publish"):
                fault_point("publish", step)
                run.publisher.publish(version=step + 1)

            # 6. What happened; then what must survive a crash.
            with clock.phase("record"):
                fault_point("record", step)
                record(run, step, scored, update, terms, clock, replayed=replayed)
            with clock.phase("evaluate"):
                evaluate_if_due(run, step + 1)
            with clock.phase("checkpoint"):
                stop_if_diverged(run)
                save_if_due(run, step + 1, now=interrupts.received is not None)
            carried = clock.after_record()
            if interrupts.received is not None and step + 1 < run.config.run.steps:
                raise SystemExit(interrupts.exit_code)


def obtain(
    run: Run,
    step: int,
    problems: Sequence[Problem],
    weights: Mapping[str, float],
    clock: Clock,
) -> tuple[list[ScoredGroup], bool]:
    """The step's scored groups, on disk when this returns; and whether they were there before."""
    entry = run.journal.read(step)
    if entry is not None:
        return replay(entry, problems), True
    scored = sample(run, step, problems, clock)
    with clock.phase("journal"):
        run.journal.commit(step, weights=weights, scored=scored, policy_version=step)
    return scored, False


def sample(run: Run, step: int, problems: Sequence[Problem], clock: Clock) -> list[ScoredGroup]:
    """Sample a group per problem and score each group while the engine goes on.

    Raises:
        StalePolicyError: If a completion was not sampled from version ``step``.
    """
    fault_point("rollout", step)
    with clock.phase("score"):
        groups = clock.iterate("rollout", run.engine.generate(problems, step=step))
        pairs = run.scorer.score(groups)
        fault_point("score", step)
    versions = {rollout.policy_version for group, _ in pairs for rollout in group.rollouts}
    if versions != {step}:
        raise StalePolicyError(
            f"step {step} samples from policy version {step}, but the engine reports "
            f"{sorted(versions)}; nothing was learned from this step. The publication of version "
            f"{step} did not reach the engine"
        )
    return with_advantages(pairs, run.config.algorithm)


def replay(entry: JournalEntry, problems: Sequence[Problem]) -> list[ScoredGroup]:
    """The groups of a journaled step, which must be of the problems that this run draws.

    Raises:
        CheckpointError: If the journal holds other problems.
    """
    journaled = [group.problem.key for group in entry.scored]
    drawn = [problem.key for problem in problems]
    if journaled != drawn:
        raise CheckpointError(
            f"the journal of step {entry.step} holds the problems {journaled[:3]}..., but this run "
            f"draws {drawn[:3]}...: data, seed or curriculum changed since. Restore them, or start "
            "anew with --fresh"
        )
    return list(entry.scored)


def learn(run: Run, step: int, scored: Sequence[ScoredGroup]) -> UpdateStats | None:
    """Update the policy; None when no group has anything to learn from."""
    algorithm = run.config.algorithm
    batches = make_train_batches(
        scored, updates=algorithm.updates_per_step, rules=BatchRules.of(algorithm)
    )
    fault_point("learn", step)
    return run.learner.update(batches, step=step) if batches else None


def record(
    run: Run,
    step: int,
    scored: Sequence[ScoredGroup],
    update: UpdateStats | None,
    terms: Mapping[str, Mapping[str, float]],
    clock: Clock,
    *,
    replayed: bool,
) -> None:
    """Write the step's one line of metrics."""
    metrics = summarize(
        step=step,
        version=step,
        replayed=replayed,
        weights={pool: values["weight"] for pool, values in terms.items()},
        scored=scored,
        update=update,
        curriculum_terms=terms,
        bounds=run.bounds,
        phase_s=clock.seconds,
        step_s=clock.total,
    )
    run.recorder.step(metrics)


def stop_if_diverged(run: Run) -> None:
    """End a run whose updates keep coming out non-finite.

    Raises:
        TrainingStopped: After three skipped updates in a row.
    """
    if run.recorder.alarms.must_stop:
        raise TrainingStopped(
            f"{run.recorder.alarms.skipped_in_row} updates in a row were not finite and were "
            "skipped; the policy is the last good one. Lower learner.learning_rate, or look at the "
            "completions of these steps with `rlreason report RUN --completions STEP`"
        )


def evaluate_if_due(run: Run, version: int) -> None:
    """Evaluate the first, the last and every n-th version, once each."""
    if run.evaluator is None or run.recorder.has_evaluation(version):
        return
    every, last = run.config.evaluation.every, run.config.run.steps
    if version in (0, last) or version % every == 0:
        run.recorder.evaluation(run.evaluator.evaluate(version).to_json())


def save_if_due(run: Run, version: int, *, now: bool) -> None:
    """Save at the interval, at the end, and ``now`` if the run is about to leave."""
    section = run.config.run
    if now or version % section.checkpoint_every == 0 or version == section.steps:
        state = {"curriculum": run.curriculum.state_dict(), "pools": run.pools.state_dict()}
        run.checkpointer.save(version, learner=run.learner, state=state)
