"""Weights of an exported policy, read from its folder one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from rlreason.errors import CheckpointError


def named_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Tensors under their Hugging Face names, from every safetensors file of ``folder``.

    Raises:
        CheckpointError: If there is no such file.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder}: holds no .safetensors file, so no policy")
    for path in files:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping and cannot be iterated
                yield name, tensors.get_tensor(name)
