"""SHA-256 of nested states, over names, tensor bytes and plain values in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def hash_value(digest: Any, name: str, value: Any) -> None:
    """Feed a nested state into ``digest``: names, tensor bytes, and the repr of plain values."""
    digest.update(name.encode())
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(str(flat.dtype).encode() + flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            hash_value(digest, f"{name}/{key}", value[key])
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            hash_value(digest, f"{name}/{index}", item)
    elif isinstance(value, (int, float, str, bool, type(None))):
        digest.update(repr(value).encode())
