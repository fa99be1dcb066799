"""Weights for an engine that tensor parallelism spreads over worker processes.

Its workers cannot read the caller's memory, so the weights lie in shared memory while each of them
reads and cuts out its part. They are there once, whatever the number of workers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

SHARED = Path("/dev/shm")
"""Memory that all processes of a machine see."""
BUCKET_BYTES = 256 * 2**20
"""Tensors that a worker holds at once beside its own, unless one is larger."""

Reload = Callable[[Any, Iterator[tuple[str, Tensor]]], None]
"""On a worker: load these tensors."""


def reload_workers(engine: Any, tensors: Iterator[tuple[str, Tensor]], reload: Reload) -> None:
    """Have every worker of ``engine`` load ``tensors``."""
    with tempfile.TemporaryDirectory(prefix="rlr-weights-", dir=SHARED) as folder:
        for number, bucket in enumerate(_buckets(tensors)):
            save_file(bucket, Path(folder, f"{number:06d}.safetensors"))
        engine.collective_rpc(_reload_from, args=(folder, reload))


def _reload_from(worker: Any, folder: str, reload: Reload) -> None:
    reload(worker, _read(Path(folder)))


def _read(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in sorted(folder.iterdir()):
        yield from load_file(path).items()


def _buckets(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    bucket: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        copy = tensor.detach().to("cpu", copy=True).contiguous()
        if bucket and size + copy.nbytes > BUCKET_BYTES:
            yield bucket
            bucket, size = {}, 0
        bucket[name] = copy
        size += copy.nbytes
    if bucket:
        yield bucket
