"""The loop: draw, sample, score, journal, observe, learn, publish, record.

``train`` names the phases and keeps their order; ranks, retries and displays belong to the parts.
Policy version v is the weights after v steps; step s samples from version s and makes s + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlreason.ahead import Sampling
from rlreason.algorithms.batching import BatchRules, make_train_batches
from rlreason.clock import Clock
from rlreason.errors import TrainingStopped
from rlreason.faults import fault_point
from rlreason.interrupts import Interrupts
from rlreason.kl_penalty import measured_kl
from rlreason.loop_metrics import AheadMetrics, ControlMetrics
from rlreason.metrics import summarize
from rlreason.obtain import Obtained
from rlreason.run import Run
from rlreason.types import ScoredGroup, UpdateStats


def train(run: Run) -> None:
    """Train until ``run.steps``. The engine must already sample from version ``start_step``.

    Strictly on-policy with ``rollout.lag = 0``: a step samples from the version that the step
    before it published. With 1, from the one before that; see ``ahead.py``.

    Raises:
        SystemExit: 130 or 143 after SIGINT or SIGTERM, once the step is done and saved.
    """
    run.recorder.start(run.start_step)
    evaluate_if_due(run, run.start_step)
    carried: dict[str, float] = {}
    with Interrupts() as interrupts, Sampling(run) as sampling:
        for step in range(run.start_step, run.config.run.steps):
            clock = Clock(carried)
            control = run.controls.metrics()

            # 1. Problems drawn as the curriculum weighs the pools, sampled, scored and journaled,
            #    or what a killed attempt has already paid for: a kill from here loses no rollout.
            obtained = sampling.take(step, clock)

            # 2. Before any filter, so that "nothing to learn here" is a signal too.
            with clock.phase("draw"):
                run.curriculum.observe(obtained.scored)

            # 3. With lag 1 the engine goes on with the next step, from the weights of this one.
            sampling.start(step + 1, clock)

            # 4. One optimizer update (or updates_per_step) from the groups with signal.
            with clock.phase("learn"):
                update = learn(run, step, obtained.kept)
                run.controls.observe(update)

            # 5. The next sampling is from what this step made. A completion has one version: what
            #    is under way ends before another one is published.
            sampling.finish(clock)
            with clock.phase("publish"):
                fault_point("publish", step)
                run.publisher.publish(version=step + 1)
                run.controls.refresh_reference_if_due(step + 1, run.learner)

            # 6. What happened; then what must survive a crash.
            with clock.phase("record"):
                fault_point("record", step)
                record(run, obtained, update, control, sampling.metrics(obtained), clock)
            with clock.phase("evaluate"):
                evaluate_if_due(run, step + 1)
            with clock.phase("checkpoint"):
                stop_if_diverged(run)
                now = interrupts.received is not None
                save_if_due(run, step + 1, sampling.cursors, now=now)
            carried = clock.after_record()
            if interrupts.received is not None and step + 1 < run.config.run.steps:
                raise SystemExit(interrupts.exit_code)


def learn(run: Run, step: int, kept: Sequence[ScoredGroup]) -> UpdateStats | None:
    """Update the policy; None when no group has anything to learn from."""
    batches = make_train_batches(
        kept,
        updates=run.config.algorithm.updates_per_step,
        rules=BatchRules.of(run.config.algorithm, every_group=run.controls.needs_every_group),
    )
    fault_point("learn", step)
    if not batches:
        return None
    update = run.learner.update(batches, step=step, coefficients=run.controls.coefficients)
    rewarded = measured_kl(kept)
    return update if rewarded is None else replace(update, kl=rewarded)


def record(
    run: Run,
    obtained: Obtained,
    update: UpdateStats | None,
    control: ControlMetrics | None,
    ahead: AheadMetrics | None,
    clock: Clock,
) -> None:
    """Write the step's one line of metrics."""
    draw = obtained.draw
    metrics = summarize(
        step=draw.step,
        version=obtained.version,
        replayed=obtained.replayed,
        weights=draw.weights,
        scored=obtained.scored,
        update=update,
        refill=obtained.refill,
        control=control,
        ahead=ahead,
        curriculum_terms=draw.terms,
        bounds=run.bounds,
        use=run.draws.observe(obtained.scored),
        phase_s=clock.seconds,
        rollout_s=obtained.rollout_s,
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


def save_if_due(
    run: Run, version: int, cursors: Callable[[], Mapping[str, Any]], *, now: bool
) -> None:
    """Save at the interval, at the end, and ``now`` if the run is about to leave.

    ``cursors`` is the pools' state before anything of step ``version`` is drawn.
    """
    section = run.config.run
    if now or version % section.checkpoint_every == 0 or version == section.steps:
        state = {
            "curriculum": run.curriculum.state_dict(),
            "pools": cursors(),
            "draws": run.draws.state_dict(),
            "controls": run.controls.state_dict(),
        }
        run.checkpointer.save(version, learner=run.learner, state=state)
