"""Weights on their way between processes: flat byte arrays, a bucket at a time.

A numpy array of bytes crosses into shared memory without a copy through pickle, and any number of
processes read it where it lies.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BUCKET_BYTES = 256 * 2**20


class Bucket(NamedTuple):
    """Some tensors, one after the other."""

    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    data: np.ndarray
    """[bytes] uint8."""


def pack(
    tensors: Iterable[tuple[str, Tensor]], *, bucket_bytes: int = BUCKET_BYTES
) -> Iterator[Bucket]:
    """Copy ``tensors`` to the CPU, in buckets of at most ``bucket_bytes`` or of one tensor."""
    held: list[tuple[str, Tensor]] = []
    size = 0
    for name, tensor in tensors:
        if held and size + tensor.nbytes > bucket_bytes:
            yield _bucket(held)
            held, size = [], 0
        held.append((name, tensor.detach().to("cpu", copy=True).contiguous()))
        size += tensor.nbytes
    if held:
        yield _bucket(held)


def _bucket(held: list[tuple[str, Tensor]]) -> Bucket:
    return Bucket(
        names=tuple(name for name, _ in held),
        dtypes=tuple(str(tensor.dtype).removeprefix("torch.") for _, tensor in held),
        shapes=tuple(tuple(tensor.shape) for _, tensor in held),
        data=np.concatenate([tensor.reshape(-1).view(torch.uint8).numpy() for _, tensor in held]),
    )


def unpack(buckets: Iterable[Bucket]) -> Iterator[tuple[str, Tensor]]:
    """The tensors again, as read-only views of the buckets."""
    for bucket in buckets:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")
            flat = torch.from_numpy(bucket.data)
        start = 0
        for name, dtype, shape in zip(bucket.names, bucket.dtypes, bucket.shapes, strict=True):
            element = getattr(torch, dtype)
            stop = start + int(np.prod(shape, dtype=np.int64)) * element.itemsize
            # A copy of one tensor: its offset need not be a multiple of its element's size.
            yield name, flat[start:stop].clone().view(element).view(shape)
            start = stop
