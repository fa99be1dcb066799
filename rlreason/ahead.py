"""Which step the engine samples while the learner works: ``rollout.lag``.

    lag 0   engine   s0          s1          s2              s: a step sampled, scored, journaled
            learner     l0 -> v1    l1 -> v2    l2 -> v3     l: learned, making the next version

    lag 1   engine   s0 s1(v0)   s2(v1)      s3(v2)
            learner     l0 -> v1 l1 -> v2    l2 -> v3

With lag 1, step k + 1 is drawn once step k has been observed, sampled from version k while step k
is learned, and journaled before version k + 1 is published. So a completion has one version, and
whatever happens after a publication (evaluation, checkpoint, exit) finds nothing under way: what a
checkpoint of version v needs of step v is in the journal. Step 0 is sampled from version 0.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from rlreason.arrival import prove_arrival
from rlreason.clock import Clock
from rlreason.config import GrpoConfig
from rlreason.loop_metrics import AheadMetrics
from rlreason.obtain import Draw, Obtained, draw_step, obtain
from rlreason.run import Run

log = logging.getLogger(__name__)


class Sampling:
    """Gives each step its groups; with ``rollout.lag = 1`` the next step's are under way."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._is_ahead = run.config.rollout.lag == 1
        # One process cannot do both: vLLM and the learner hold the same interpreter and threads.
        self._overlaps = run.config.cluster.backend == "ray"
        self._next: Obtained | None = None
        self._beside: _Beside | None = None
        self._proved: int | None = None
        """Newest version that the engine was shown to hold."""
        self._gap: float | None = None
        self._spent: Mapping[str, Any] = {}
        if self._is_ahead:
            _warn(run.config)

    def take(self, step: int, clock: Clock) -> Obtained:
        """The groups of ``step``: those that were obtained ahead, else obtained now."""
        self._spent, self._gap = {"phase_s": {}, "hidden_s": 0.0}, None
        if self._next is not None:
            obtained, self._next = self._next, None
            return obtained
        draw = self._draw(step, version=step, clock=clock)
        if self._is_ahead and step > 0 and draw.entry is None:
            log.warning(
                "step %d is not in the journal, so it is sampled from version %d, which the "
                "checkpoint holds, and not from the one before",
                step,
                step,
            )
            self._run.journal.discard_from(step)
        return obtain(self._run, draw, clock)

    def start(self, step: int, clock: Clock) -> None:
        """Go on with ``step``, the next one, from the version that the engine holds."""
        if not self._is_ahead or step == self._run.config.run.steps:
            return
        draw = self._draw(step, version=step - 1, clock=clock)
        if self._overlaps:
            self._beside = _Beside(lambda clock: obtain(self._run, draw, clock))
        else:
            self._next = obtain(self._run, draw, clock)

    def finish(self, clock: Clock) -> None:
        """Return when nothing is under way: weights may then be published."""
        if self._beside is None:
            return
        beside = self._beside
        with clock.phase("wait"):
            self._next = beside.result()
        self._beside = None
        hidden_s = max(0.0, beside.total_s - clock.seconds["wait"])
        self._spent = {"phase_s": beside.clock.seconds, "hidden_s": hidden_s}

    def cursors(self) -> Mapping[str, Any]:
        """The pools' state as the next step finds it, drawn ahead or not."""
        ahead = None if self._next is None else self._next.draw.cursors
        return self._run.pools.state_dict() if ahead is None else ahead

    def metrics(self, obtained: Obtained) -> AheadMetrics | None:
        """What lag 1 meant for the step that ``obtained`` belongs to; None with lag 0."""
        if not self._is_ahead:
            return None
        lag = obtained.draw.step - obtained.version
        return AheadMetrics(policy_lag=lag, sampler_gap=self._gap, **self._spent)

    def _draw(self, step: int, *, version: int, clock: Clock) -> Draw:
        """Draw ``step``; nothing is sampled from a version before its arrival is proved."""
        draw = draw_step(self._run, step, version, clock, early=version < step)
        if self._is_ahead and draw.entry is None and self._proved != version:
            with clock.phase("publish"):
                self._gap = prove_arrival(self._run, version, draw.problems)
            self._proved = version
        return draw

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let what is under way end, so that it reaches the journal; a second Ctrl-C does not."""
        if self._beside is None or (kind is not None and issubclass(kind, KeyboardInterrupt)):
            return
        failure = self._beside.failure()
        if failure is not None and failure is not error:
            log.warning("the step that was being sampled failed as well: %s", failure)


class _Beside:
    """One call in a thread of its own, with a clock of its own."""

    def __init__(self, work: Callable[[Clock], Obtained]) -> None:
        self.clock = Clock()
        self.total_s = 0.0
        self._outcome: Future[Obtained] = Future()
        # A daemon: a second Ctrl-C must not wait for the longest completion.
        threading.Thread(target=self._do, args=(work,), name="sampling", daemon=True).start()

    def result(self) -> Obtained:
        """What came of it, or its error."""
        return self._outcome.result()

    def failure(self) -> BaseException | None:
        """Its error, once it has ended."""
        return self._outcome.exception()

    def _do(self, work: Callable[[Clock], Obtained]) -> None:
        try:
            obtained = work(self.clock)
        except BaseException as error:
            self._outcome.set_exception(error)
        else:
            self.total_s = self.clock.total
            self._outcome.set_result(obtained)


def _warn(config: GrpoConfig) -> None:
    """Say what of ``rollout.lag = 1`` this run does not have."""
    if config.cluster.backend == "inline":
        log.warning(
            "rollout.lag = 1 with cluster.backend = inline: steps are sampled one version behind, "
            "in turn with the learner; backend = ray overlaps the two"
        )
    if config.algorithm.correction is None and config.algorithm.loss != "likelihood":
        log.warning(
            "rollout.lag = 1 with algorithm.correction = null: nothing corrects for the sampler "
            "being one version behind; leave the field out for token_truncated at 2.0"
        )
