"""The learner's ranks as one learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import methodcaller
from pathlib import Path
from typing import Any

from torch import Tensor

from rlreason.cluster.ray_host import LostError, Member, end, gather
from rlreason.config import DeadlineSection
from rlreason.errors import LearnerLostError
from rlreason.types import Coefficients, TrainBatch, TrainSequence, UpdateStats

LOOK_S = 3.0
"""How long a rank may take to show that it is there."""


class RankedLearner:
    """Keeps protocols.Learner over data-parallel ranks: what one is told, all are told."""

    def __init__(
        self,
        ray: Any,
        members: Sequence[Member],
        *,
        deadlines: DeadlineSection,
        pack: Callable[[Any], Iterator[Any]],
        unpack: Callable[[Iterator[Any]], Iterator[tuple[str, Tensor]]],
    ) -> None:
        """Speak for ``members``, which hold their ranks already.

        Args:
            ray: The connected module.
            members: In the order of the ranks.
            deadlines: How long each phase may take.
            pack: On a rank: its learner -> the weights in buckets; on rank 0 alone any come out.
            unpack: Here: buckets -> tensors.
        """
        self._ray, self._members, self._deadlines = ray, list(members), deadlines
        self._pack, self._unpack = pack, unpack
        self._is_warm = False

    def update(
        self,
        batches: Sequence[TrainBatch],
        *,
        step: int,
        coefficients: Coefficients | None = None,
    ) -> UpdateStats:
        """One optimizer update per batch; see protocols.Learner."""
        kept = self._ray.put(list(batches))
        stats: UpdateStats = self._all(_update, kept, step, coefficients)[0]
        self._is_warm = True
        return stats

    def reference_logprobs(self, sequences: Sequence[TrainSequence]) -> list[tuple[float, ...]]:
        """Per sequence the reference's logprobs; every rank holds one and takes its part."""
        count = len(self._members)
        shares = [list(sequences[rank::count]) for rank in range(count)]
        refs = [
            (member, member.call(_reference_logprobs, share))
            for member, share in zip(self._members, shares, strict=True)
            if share
        ]
        answers = self._gather(refs)
        result: list[tuple[float, ...]] = [()] * len(sequences)
        for rank, answer in enumerate(answers):
            result[rank::count] = answer
        return result

    def check_sampler(self, sequences: Sequence[TrainSequence], *, version: int) -> float:
        """Compare with the engines' logprobs; every rank does, as sharded weights need all."""
        gap: float = self._all(_check_sampler, list(sequences), version)[0]
        return gap

    def refresh_reference(self) -> None:
        """Make the current weights the reference."""
        self._all(methodcaller("refresh_reference"))

    def weight_buckets(self) -> list[Any]:
        """References to the current weights in shared memory, a bucket each.

        Rank 0 writes a bucket while all ranks gather the next, so that no process ever holds the
        model a second time.
        """
        streams = [
            member.handle.stream.options(num_returns="streaming").remote(self._pack)
            for member in self._members
        ]
        finished = [
            (member, stream.completed())
            for member, stream in zip(self._members, streams, strict=True)
        ]
        self._gather(finished)
        return list(streams[0])

    def meet_engines(self, factory: Callable[..., Any], *args: Any) -> None:
        """Have every rank hold the sender ``factory(learner, *args)``."""
        refs = [(member, member.make_beside(factory, *args)) for member in self._members]
        self._gather(refs, phase="start", seconds=self._deadlines.start_s)

    def send(self, version: int) -> None:
        """Have every rank do its part in sending the current weights."""
        send = methodcaller("send", version)
        refs = [(member, member.call_beside(send)) for member in self._members]
        self._gather(refs, phase="publish", seconds=self._deadlines.publish_s)

    def free_port(self) -> tuple[str, int]:
        """Address of rank 0, and a port that was free there just now."""
        place = self._members[0].locate(self._deadlines.start_s)
        port = self._ray.get(
            self._members[0].handle.free_port.remote(), timeout=self._deadlines.start_s
        )
        return place.address, port

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """What engines are given; see protocols.Learner."""
        return self._unpack(self._ray.get(ref) for ref in self.weight_buckets())

    def export_policy(self, folder: Path) -> None:
        """Write what transformers and vLLM load; rank 0's node must see ``folder``."""
        self._all(methodcaller("export_policy", folder.resolve()))

    def export_adapter(self, folder: Path) -> None:
        """Write the adapter as peft loads it, where one is trained."""
        self._all(methodcaller("export_adapter", folder.resolve()))

    def save(self, folder: Path) -> None:
        """Write optimizer and random state; see protocols.Learner."""
        self._all(methodcaller("save", folder.resolve()))

    def load(self, folder: Path) -> None:
        """Continue from ``save``'s folder, whatever the number of ranks that wrote it."""
        self._all(methodcaller("load", folder.resolve()))

    def release_memory(self) -> None:
        """Give back what an update needed and the allocators keep."""
        self._all(methodcaller("release_memory"))

    def digests(self) -> dict[str, str]:
        """SHA-256 of the whole state; equal on every rank."""
        digests: dict[str, str] = self._all(methodcaller("digests"))[0]
        return digests

    def refuse_loss(self, hint: str) -> None:
        """Look whether every rank is there, as ``hint`` says that something else is not.

        One that is too busy to answer is taken to be there.

        Raises:
            LearnerLostError: If one is lost.
        """
        owners = {member.ping(): member for member in self._members}
        ready, _ = self._ray.wait(list(owners), num_returns=len(owners), timeout=LOOK_S)
        try:
            for ref in ready:
                owners[ref].result(ref, LOOK_S, "looked at")
        except LostError as error:
            self.kill()
            raise LearnerLostError(f"{error}, and {hint}") from None

    def kill(self) -> None:
        """End all ranks."""
        end(self._ray, self._members)

    def _all(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        return self._gather([(member, member.call(function, *args)) for member in self._members])

    def _gather(
        self,
        refs: Sequence[tuple[Member, Any]],
        *,
        phase: str = "learn",
        seconds: float | None = None,
    ) -> list[Any]:
        if seconds is None:
            limits = self._deadlines
            seconds = limits.learn_s if self._is_warm else max(limits.start_s, limits.learn_s)
        try:
            return gather(self._ray, refs, seconds, phase)
        except LostError as error:
            self.kill()  # the others wait for it in a collective
            raise LearnerLostError(str(error)) from None


def make_ranks(
    ray: Any,
    members: Sequence[Member],
    factory: Callable[..., Any],
    *args: Any,
    meeting_folder: str,
    deadlines: DeadlineSection,
) -> None:
    """Have each member hold ``factory(rank, ranks, meeting, *args)``.

    Raises:
        LearnerLostError: If one dies or hangs on the way.
    """
    try:
        places = [member.locate(deadlines.start_s) for member in members]
        meeting = f"file://{meeting_folder}/ranks"
        here = ray.get_runtime_context().get_node_id()
        if {place.node for place in places} != {here}:
            port = ray.get(members[0].handle.free_port.remote(), timeout=deadlines.start_s)
            meeting = f"tcp://{places[0].address}:{port}"
        refs = [
            (member, member.make(factory, rank, len(members), meeting, *args))
            for rank, member in enumerate(members)
        ]
        gather(ray, refs, deadlines.start_s, "start")
    except LostError as error:
        end(ray, members)
        raise LearnerLostError(str(error)) from None


def _update(
    learner: Any, batches: list[TrainBatch], step: int, coefficients: Coefficients | None
) -> UpdateStats:
    stats: UpdateStats = learner.update(batches, step=step, coefficients=coefficients)
    return stats


def _reference_logprobs(learner: Any, sequences: list[TrainSequence]) -> list[tuple[float, ...]]:
    return list(chain(learner.reference_logprobs(sequences)))


def _check_sampler(learner: Any, sequences: list[TrainSequence], version: int) -> float:
    gap: float = learner.check_sampler(sequences, version=version)
    return gap
