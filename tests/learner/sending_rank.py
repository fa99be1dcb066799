"""A rank that sends its weights by vLLM's own senders; rank 0 also plays the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cuda_fakes
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

BUFFER_BYTES = 20_000


class Collector:
    """An engine that keeps what comes."""

    def __init__(self) -> None:
        from vllm.distributed.weight_transfer.packed_tensor import PackedBufferImporter

        self.version = -1
        self.got: dict[str, Tensor] = {}
        self._wire: Any = None
        self._importer = PackedBufferImporter()

    def meet(self, wire: cuda_fakes.Wire) -> None:
        self._wire = wire.join(rank=1)

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self._buffer_bytes = init_info.get("packed_buffer_size_bytes")

    def start_weight_update(self) -> None:
        self.got.clear()

    def update_weights(self, info: dict[str, Any]) -> None:
        from vllm.distributed.weight_transfer import packed_tensor

        if "ipc_handles" in info:
            sizes, handle = info["tensor_sizes"], info["ipc_handles"]
            assert len(handle) == torch.distributed.get_world_size()  # every rank's GPU
            described = (info["names"], info["shapes"], info["dtype_names"])
            self._keep(
                packed_tensor.packed_ipc_consumer(handle, *described, sizes, 0, self._importer)
            )
            return
        dtypes = [getattr(torch, name) for name in info["dtype_names"]]
        announced = zip(info["names"], zip(info["shapes"], dtypes, strict=True), strict=True)
        packed_tensor.packed_nccl_broadcast_consumer(
            announced, self._wire, 0, self._keep, self._buffer_bytes, device="cpu"
        )

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        assert self.version == 1

    def _keep(self, tensors: list[tuple[str, Tensor]]) -> None:
        self.got |= {name: tensor.clone() for name, tensor in tensors}


def send_both_ways(learner: Any, folder: Path) -> None:
    """Send over CUDA IPC and over NCCL; rank 0 writes what arrived."""
    from rlreason.weights import transfer

    patch, collector = pytest.MonkeyPatch(), Collector()
    patch.setattr(transfer, "BUCKET_BYTES", BUFFER_BYTES)
    cuda_fakes.fake_cuda(patch, gpu=learner.rank)
    wire = cuda_fakes.fake_nccl(patch)
    collector.meet(wire)
    for weight_sync in ("cuda_ipc", "nccl"):
        meeting = transfer.Meeting("127.0.0.1", 1, 2)
        transfer.WeightSender(learner, weight_sync, collector, meeting).send(1)
        if learner.rank == 0:
            save_file(collector.got, folder / f"{weight_sync}.safetensors")
    patch.undo()
