"""Weights for workers in other processes: what crosses is a folder's name and a function's."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rlreason.rollout import parallel


class Workers:
    """Takes what vLLM would send to its workers through pickle."""

    def __init__(self) -> None:
        self.held: list[dict[str, Tensor]] = [{}, {}]
        self.folder = Path()

    def collective_rpc(self, method: Callable[..., None], args: tuple[Any, ...]) -> None:
        method, args = pickle.loads(pickle.dumps((method, args)))
        self.folder = Path(args[0])
        assert str(self.folder).startswith("/dev/shm/")
        for worker in self.held:
            method(worker, *args)


def hold(worker: dict[str, Tensor], tensors: Iterator[tuple[str, Tensor]]) -> None:
    worker.update(tensors)


@pytest.mark.parametrize("bucket_bytes", [1, 10_000])
def test_every_worker_gets_every_tensor_and_nothing_stays(
    monkeypatch: pytest.MonkeyPatch, bucket_bytes: int
) -> None:
    monkeypatch.setattr(parallel, "BUCKET_BYTES", bucket_bytes)
    square = torch.arange(9.0).reshape(3, 3)
    tensors = {"a": square.bfloat16(), "turned": square.T, "b": torch.ones(5)}
    workers = Workers()
    parallel.reload_workers(workers, iter(tensors.items()), hold)
    for held in workers.held:
        assert held.keys() == tensors.keys()
        assert all(torch.equal(held[name], tensors[name]) for name in tensors)
        assert held["a"].dtype == torch.bfloat16
    assert not workers.folder.exists()
