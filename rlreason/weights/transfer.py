"""Weights from GPU to GPU, through vLLM's weight-transfer API: the sender's half.

Every learner rank has a sender, as weights that ZeRO-3 spreads are gathered by all; rank 0's speaks
to the engines. vLLM's own classes carry the bytes: ``cuda_ipc`` is its back end ``ipc``, where an
engine reads a buffer on the GPU that it shares with a rank; ``nccl`` broadcasts from rank 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from torch import Tensor
from vllm.distributed.weight_transfer import (
    ParamMeta,
    WeightSource,
    WeightTransferTrainerFactory,
)
from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo
from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

from rlreason.weights.buckets import BUCKET_BYTES


class Meeting(NamedTuple):
    """Where rank 0 and the engines form their NCCL group."""

    address: str
    port: int
    processes: int
    """Rank 0 and every process of every engine."""


class Engines(Protocol):
    """The engines as vLLM's sender asks for them; what one is told, all are told."""

    version: int
    """Policy version of what is sent."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Have every engine meet the sender."""
        ...

    def start_weight_update(self) -> None:
        """Have every engine make ready."""
        ...

    def update_weights(self, update_info: Any) -> None:
        """Have every engine take one part."""
        ...

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Have every engine use what came, as ``version``."""
        ...


class LearnerWeights(WeightSource):
    """What a learner publishes, as vLLM's sender reads it. All ranks iterate alike."""

    def __init__(self, tensors: Callable[[], Iterator[tuple[str, Tensor]]]) -> None:
        """``tensors`` starts a pass over the current weights."""
        self._tensors = tensors
        self._metadata: list[ParamMeta] | None = None

    def metadata(self) -> list[ParamMeta]:
        """What a pass yields, as a first pass showed it: the two cannot disagree."""
        if self._metadata is None:
            self._metadata = [
                ParamMeta(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self
            ]
        return self._metadata

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """A new pass over the weights as they are now."""
        return self._tensors()


class WeightSender:
    """One rank's half of every publication."""

    def __init__(
        self, learner: Any, weight_sync: str, engines: Engines, meeting: Meeting | None
    ) -> None:
        """Meet the engines; all ranks do so at once.

        Args:
            learner: This rank's, with ``rank`` and ``named_tensors``.
            weight_sync: ``cuda_ipc`` or ``nccl``.
            engines: All of them.
            meeting: For ``nccl``.
        """
        source = LearnerWeights(learner.named_tensors)
        self._engines = engines
        self._sender = WeightTransferTrainerFactory.trainer_init(
            _terms(weight_sync, learner.rank, source, meeting), client=engines, source=source
        )

    def send(self, version: int) -> None:
        """Send the current weights as ``version``; all ranks do so at once."""
        self._engines.version = version
        self._sender.send_weights()


def _terms(
    weight_sync: str, rank: int, source: LearnerWeights, meeting: Meeting | None
) -> IPCTrainerInitInfo | NCCLTrainerInitInfo:
    """What both halves must agree on."""
    # vLLM's buffer has a fixed size, and is to hold the largest tensor whole.
    sizes = [math.prod(meta.shape) * meta.dtype.itemsize for meta in source.metadata()]
    buffer_bytes = max(BUCKET_BYTES, *sizes)
    if weight_sync == "cuda_ipc":
        return IPCTrainerInitInfo(rank=rank, packed=True, packed_buffer_size_bytes=buffer_bytes)
    assert meeting is not None, "nccl has a meeting"
    return NCCLTrainerInitInfo(
        rank=rank,
        master_address=meeting.address,
        master_port=meeting.port,
        world_size=meeting.processes,
        packed_buffer_size_bytes=buffer_bytes,
    )
