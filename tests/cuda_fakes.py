"""A GPU's memory and NCCL, played by this process: vLLM's own senders and receivers run on them."""

from __future__ import annotations

import queue
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

WAIT_S = 60.0
_NO_STREAM = SimpleNamespace(synchronize=lambda: None)


class Wire:
    """An NCCL group of a sender and its receivers, each of which gets every broadcast."""

    def __init__(self) -> None:
        self.receivers: dict[int, queue.Queue[Tensor]] = {}
        self.broadcasts: list[int] = []
        """Bytes of each."""

    def broadcast(self, tensor: Tensor, src: int) -> None:
        assert src == 0
        self.broadcasts.append(tensor.nbytes)
        for received in self.receivers.values():
            received.put(tensor.clone())

    def join(self, rank: int) -> SimpleNamespace:
        """A receiver's end."""
        received = self.receivers.setdefault(rank, queue.Queue())

        def take(tensor: Tensor, src: int) -> None:
            assert src == 0
            tensor.copy_(received.get(timeout=WAIT_S))

        return SimpleNamespace(broadcast=take)


def fake_cuda(monkeypatch: pytest.MonkeyPatch, *, gpu: int = 0) -> None:
    """Put this process's memory in the place of a GPU's, and nothing in that of its streams."""
    from vllm.distributed.weight_transfer import packed_tensor

    exported: dict[int, Tensor] = {}

    def export(tensor: Tensor) -> tuple[None, tuple[Any, ...]]:
        exported[id(tensor)] = tensor
        return None, (id(tensor), 0, 0, 0, 0, 0, "the sender's device")

    def open_export(*handle: Any) -> Tensor:
        return exported[handle[0]]

    real_empty = torch.empty

    def empty(*size: Any, device: Any = None, **options: Any) -> Tensor:
        return real_empty(*size, device="cpu" if device == "cuda" else device, **options)

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(packed_tensor, "reduce_tensor", export)
    monkeypatch.setattr(packed_tensor, "_get_streams", lambda *_: (_NO_STREAM, _NO_STREAM))
    monkeypatch.setattr(torch.multiprocessing.reductions, "rebuild_cuda_tensor", open_export)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 0)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda *_: None)
    for name, value in {
        "get_device_properties": lambda *_: SimpleNamespace(uuid=f"GPU {gpu}"),
        "current_stream": lambda *_: _NO_STREAM,
        "stream": nullcontext,
        "synchronize": lambda *_: None,
        "ipc_collect": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)


def fake_nccl(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Have sender and receivers meet on a wire; it is returned."""
    from vllm.distributed.weight_transfer import nccl_engine

    wire = Wire()

    def join(info: Any, parallel: Any) -> SimpleNamespace:
        rank = info.rank_offset + parallel.rank
        assert 0 < rank < info.world_size
        return wire.join(rank)

    monkeypatch.setattr(nccl_engine, "open_trainer_endpoint", lambda info: wire)
    monkeypatch.setattr(nccl_engine, "worker_init_process_group", join)
    return wire
