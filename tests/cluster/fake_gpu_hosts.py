"""The product's ranks and engines on CPUs that pass for GPUs where a transfer looks at them."""

from __future__ import annotations

from typing import Any

import cuda_fakes
import pytest

from rlreason import build_ray
from rlreason.rollout.environment import prepare_environment


class StoreWire:
    """In the place of an NCCL group: broadcasts through the store by which its members met."""

    def __init__(self, group: Any, device: Any) -> None:
        self._group = group

    def broadcast(self, tensor: Any, src: int) -> None:
        sent = self._group.broadcast_obj(tensor if self._group.rank == src else None, src)
        tensor.copy_(sent)


def pretend() -> None:
    """For the rest of this process's life."""
    from vllm.distributed.device_communicators import pynccl

    patch = pytest.MonkeyPatch()
    cuda_fakes.fake_cuda(patch)
    patch.setattr(pynccl, "PyNcclCommunicator", StoreWire)


def host_engine(plan: Any) -> Any:
    engine = build_ray.host_engine(plan)
    pretend()
    return engine


def host_sender(learner: Any, section: Any, engines: Any, meeting: Any) -> Any:
    prepare_environment(1)
    pretend()
    return build_ray.host_sender(learner, section, engines, meeting)
