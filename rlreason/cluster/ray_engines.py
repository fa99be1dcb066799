"""The engines as one engine: requests are dealt over them, a dead or silent one is replaced.

An engine at work answers at least once a second, finished groups or none, so silence is told from
long completions. Two orders are under way at any time: the engine samples while an answer travels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter, methodcaller
from typing import Any, NamedTuple

from torch import Tensor

from rlreason.cluster.deaths import Deaths
from rlreason.cluster.dispatch import Dispatch
from rlreason.cluster.ray_host import LostError, end
from rlreason.cluster.ray_seat import REPORT_S, EngineSeat
from rlreason.config import DeadlineSection
from rlreason.errors import LearnerLostError, StalePolicyError, TrainingStopped
from rlreason.types import Problem, RolloutGroup

GATHER_S = 0.02
"""Groups that finish within this time travel together."""
ORDERS = 2
"""Orders under way per engine."""


class FleetPlan(NamedTuple):
    """The engines and their limits."""

    engines: int
    at_once: int
    """Completions that one engine decodes at once."""
    fixed: bool
    """Deal requests by their number alone, see ``Dispatch``."""
    deadlines: DeadlineSection
    replaces: bool = True
    """Replace a lost engine alone. False: it takes the whole run back to its journal."""


class EngineFleet:
    """Keeps protocols.RolloutEngine over several engines."""

    def __init__(
        self,
        ray: Any,
        start: Callable[[int], EngineSeat],
        requests: Any,
        plan: FleetPlan,
        *,
        version: int,
        deaths: Deaths,
        load: Callable[..., int],
    ) -> None:
        """Start the engines; they load while the caller goes on.

        Args:
            ray: The connected module.
            start: Index -> a new engine's seat.
            requests: Makes requests from problems (rollout/requests.py).
            plan: How many engines, and their limits.
            version: Policy version that new engines start from.
            deaths: Counts what dies.
            load: On an engine: (engine, version, *buckets) -> the version that it then holds.
        """
        self._ray, self._start, self._requests, self._plan = ray, start, requests, plan
        self._deaths, self._load = deaths, load
        self.policy_version = version
        self._weights: tuple[int, list[Any]] | None = None
        self._is_closed = self._must_sleep = False
        self.before_replacing: Callable[[str], None] | None = None
        """Told why an engine is lost; may raise, if more than an engine is."""
        self._seats = [start(index) for index in range(plan.engines)]

    def await_answers(self) -> None:
        """Return when every engine has done what it was told, its start included."""
        while any(seat.count for seat in self._seats):
            list(self._answers(None))

    def generate(
        self,
        problems: Sequence[Problem],
        *,
        step: int,
        first_slot: int = 0,
        with_greedy: bool = False,
    ) -> Iterator[RolloutGroup]:
        """Yield one training group per problem as it finishes; see protocols.RolloutEngine."""
        return self._run(
            self._requests.training(
                problems, step=step, first_slot=first_slot, with_greedy=with_greedy
            )
        )

    def evaluate(
        self, problems: Sequence[Problem], *, samples: int, greedy: bool
    ) -> Iterator[RolloutGroup]:
        """Yield groups of ``samples`` completions; see protocols.RolloutEngine."""
        return self._run(self._requests.evaluation(problems, samples=samples, greedy=greedy))

    def probe(
        self, problems: Sequence[Problem], *, version: int, tokens: int
    ) -> Iterator[RolloutGroup]:
        """Yield one short completion per problem; see protocols.RolloutEngine."""
        return self._run(self._requests.probe(problems, version=version, tokens=tokens))

    def load_weights(self, tensors: Iterator[tuple[str, Tensor]], *, version: int) -> None:
        """Refused: weights go to a fleet in shared memory, see ``load_buckets``."""
        raise NotImplementedError("a fleet takes weights through FleetPublisher")

    @property
    def handles(self) -> list[Any]:
        """The engines' hosts."""
        return [seat.member.handle for seat in self._seats]

    def load_buckets(self, buckets: list[Any], *, version: int) -> None:
        """Have every engine load ``buckets``, references to shared memory, as ``version``.

        Raises:
            StalePolicyError: If an engine reports another version afterwards.
        """
        self._must_sleep = False
        self._weights, self.policy_version = (version, buckets), version
        for seat in self._seats:
            self._order_load(seat)
        self.await_answers()

    def confirm(self, version: int) -> None:
        """Ask every engine whether it holds ``version``, which was sent to it past the driver.

        Raises:
            StalePolicyError: If one reports another version.
        """
        self.policy_version = version
        for seat in self._seats:
            seat.order("publish", self._plan.deadlines.publish_s, attrgetter("policy_version"))
        self.await_answers()

    def sleep(self) -> None:
        """Have every engine give its GPU back until it is next asked for something."""
        self._must_sleep = True
        for seat in self._seats:
            self._order_sleep(seat)
        self.await_answers()

    def close(self) -> None:
        """End all engines; none is started again, though a thread may still be sampling."""
        self._is_closed = True
        end(self._ray, [seat.member for seat in self._seats])

    def _order_load(self, seat: EngineSeat) -> None:
        assert self._weights is not None, "called after a publication"
        version, buckets = self._weights
        seat.order("publish", self._plan.deadlines.publish_s, self._load, version, *buckets)

    def _order_sleep(self, seat: EngineSeat) -> None:
        seat.order("sleep", self._plan.deadlines.publish_s, methodcaller("sleep"))

    def _run(self, requests: Sequence[Any]) -> Iterator[RolloutGroup]:
        self._must_sleep = False
        dispatch = Dispatch(
            [request.samples for request in requests],
            engines=len(self._seats),
            at_once=self._plan.at_once,
            fixed=self._plan.fixed,
        )
        for seat in self._seats:
            seat.abandon()
            seat.order("begin", self._plan.deadlines.sample_s, methodcaller("begin"))
        while not dispatch.is_done:
            for index in range(len(self._seats)):
                self._feed(index, dispatch, requests)
            for seat, kind, answer in self._answers(dispatch):
                if kind != "sample":
                    continue
                for ticket, group in answer:
                    dispatch.answered(self._seats.index(seat), ticket)
                    yield group

    def _feed(self, index: int, dispatch: Dispatch, requests: Sequence[Any]) -> None:
        seat = self._seats[index]
        while seat.count < ORDERS and not dispatch.is_idle(index):
            tickets = [(ticket, requests[ticket]) for ticket in dispatch.take(index)]
            seat.order("sample", self._plan.deadlines.sample_s, sample_for_a_while, tickets)

    def _answers(self, dispatch: Dispatch | None) -> Iterator[tuple[EngineSeat, str, Any]]:
        """What is there within a second; a dead or silent engine is replaced on the way."""
        asked = [seat for seat in self._seats if seat.count]
        refs = [seat.awaited for seat in asked]
        ready, _ = self._ray.wait(refs, num_returns=1, timeout=REPORT_S)
        if ready:  # whatever else has come meanwhile
            ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        for seat, ref in zip(asked, refs, strict=True):
            try:
                if ref in ready:
                    kind, answer = seat.answer()
                    self._prove_arrival(seat, kind, answer)
                    yield seat, kind, answer
                else:
                    seat.refuse_silence()
            except LostError as error:
                self._replace(self._seats.index(seat), str(error), dispatch)

    def _prove_arrival(self, seat: EngineSeat, kind: str, held: Any) -> None:
        if kind == "publish" and held != self.policy_version:
            raise StalePolicyError(
                f"{seat.member.name} reports policy version {held} after version "
                f"{self.policy_version} was published to it"
            )

    def _replace(self, index: int, reason: str, dispatch: Dispatch | None) -> None:
        """Kill the engine and whatever it started; a new one gets the current version first."""
        if self._is_closed:
            raise TrainingStopped(f"the engines were closed while they sampled: {reason}")
        if self.before_replacing is not None:
            self.before_replacing(reason)
        lost = self._seats[index].member
        lost.kill()
        if not self._plan.replaces:
            raise LearnerLostError(f"{reason}; weights are sent to all engines together")
        self._deaths.add(reason, lost_node=lost.lost_node)
        if dispatch is not None:
            dispatch.lost(index)
        self._seats[index] = seat = self._start(index)
        if self._weights is not None:
            self._order_load(seat)
        seat.order("begin", self._plan.deadlines.sample_s, methodcaller("begin"))
        if self._must_sleep:  # or it would be awake beside a learner that needs the GPU
            self._order_sleep(seat)


class FleetPublisher:
    """Keeps protocols.WeightPublisher between ranks and engines, through shared memory."""

    def __init__(self, learner: Any, fleet: EngineFleet) -> None:
        self._learner, self._fleet = learner, fleet

    def publish(self, version: int) -> None:
        """Gather the weights once, in buckets, and have every engine read them where they lie."""
        self._fleet.load_buckets(self._learner.weight_buckets(), version=version)


def sample_for_a_while(engine: Any, tickets: list[Any]) -> list[tuple[int, RolloutGroup]]:
    """On an engine: take ``tickets`` on, and sample until some are done or a second is over."""
    engine.add(tickets)
    finished: list[tuple[int, RolloutGroup]] = []
    start = time.monotonic()
    while engine.is_busy:
        finished += engine.advance()
        spent = time.monotonic() - start
        if spent > REPORT_S or (finished and spent > GATHER_S):
            break
    return finished
