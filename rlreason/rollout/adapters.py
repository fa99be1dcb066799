"""The adapter that an engine samples with, through vLLM's LoRA, and the proof that it is the one.

Every version gets an id of its own, so that neither an adapter that vLLM kept nor a prefix-cache
block of an older version can be taken for it. After each load the buffers that vLLM's forward reads
are read back and compared with what was given: an adapter that silently does not arrive leaves
completions that look right and come from another policy.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlreason.config import LoraSection
from rlreason.errors import StalePolicyError

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."
_MEMORY = Path("/dev/shm")
"""Where a file is memory, on Linux."""


def adapter_options(section: LoraSection) -> dict[str, Any]:
    """What vLLM is told at its start, to take adapters of this shape."""
    from vllm.config.lora import MaxLoRARanks

    assert not isinstance(section.target_modules, str), "the build lists them"
    return {
        "enable_lora": True,
        "max_loras": 1,
        "max_cpu_loras": 1,
        "max_lora_rank": min(rank for rank in get_args(MaxLoRARanks) if rank >= section.rank),
        # Else embeddings and head get buffers too, and a product per token.
        "lora_target_modules": list(section.target_modules),
    }


class Adapters:
    """The one adapter of an engine; at first none, and the engine samples from the base."""

    def __init__(self, engine: Any, section: LoraSection) -> None:
        """Serve ``engine``, vLLM's, started with ``adapter_options``."""
        self._engine, self._section = engine, section
        self._count = 0
        self.request: Any = None
        """Goes with every request for completions; None: there is no adapter yet."""

    def load_folder(self, folder: Path, *, version: int) -> None:
        """Load an exported adapter as ``version``."""
        self.load(load_file(folder / WEIGHTS), version=version)

    def load(self, tensors: Mapping[str, Tensor], *, version: int) -> None:
        """Put ``tensors``, by their names in peft's files, in the place of the adapter before.

        Raises:
            StalePolicyError: If the engine does not hold them afterwards, to the bit.
        """
        from vllm.lora.request import LoRARequest

        scale = self._section.alpha / self._section.rank
        expected = {name: _digest(a, b * scale) for name, a, b in _pairs(tensors)}
        if not expected:
            raise StalePolicyError(
                f"the engine takes adapters, but what was published as version {version} is none"
            )
        if self.request is not None:
            self._engine.remove_lora(self.request.lora_int_id)
        self._count += 1
        with tempfile.TemporaryDirectory(
            prefix="rlr-adapter-", dir=_MEMORY if _MEMORY.is_dir() else None
        ) as folder:
            _write(Path(folder), tensors, self._section)
            name = f"version-{version}-{self._count}"
            self.request = LoRARequest(name, self._count, folder)
            self._engine.add_lora(self.request)
        held: list[dict[str, str]] = self._engine.collective_rpc(
            functools.partial(held_digests, lora_id=self._count, rank=self._section.rank)
        )
        for worker in held:
            _compare(worker, expected, version)

    def check(self, output: Any) -> None:
        """Refuse a completion that vLLM says it made with another adapter than the current one.

        Raises:
            StalePolicyError: If it did.
        """
        used, ours = (
            request and request.lora_int_id for request in (output.lora_request, self.request)
        )
        if used != ours:
            raise StalePolicyError(
                f"vLLM made a completion with adapter {used}, but the current one is {ours}"
            )


def _pairs(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name of the layer, A, B)."""
    ending = ".lora_A.weight"
    for name, a in tensors.items():
        if name.endswith(ending):
            layer = name.removesuffix(ending)
            yield layer.removeprefix(_PREFIX), a, tensors[f"{layer}.lora_B.weight"]


def _write(folder: Path, tensors: Mapping[str, Tensor], section: LoraSection) -> None:
    save_file({name: t.to("cpu").contiguous() for name, t in tensors.items()}, folder / WEIGHTS)
    settings = {
        "peft_type": "LORA",
        "r": section.rank,
        "lora_alpha": section.alpha,
        "target_modules": sorted({name.rpartition(".")[2] for name, _, _ in _pairs(tensors)}),
    }
    (folder / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")


def held_digests(worker: Any, *, lora_id: int, rank: int) -> dict[str, str]:
    """On a worker: a digest for each layer that holds anything in the adapter's buffers."""
    manager = worker.model_runner.lora_manager._adapter_manager
    if lora_id not in manager.lora_index_to_id:
        return {}
    slot = manager.lora_index_to_id.index(lora_id)
    digests = {}
    for name, module in manager.modules.items():
        parent, _, last = name.rpartition(".")
        parts = manager.packed_modules_mapping.get(last) or [last]
        stacks = zip(parts, module.lora_a_stacked, module.lora_b_stacked, strict=True)
        for part, a_stack, b_stack in stacks:
            a, b = a_stack[slot, 0], b_stack[slot, 0]
            if bool(a.any()) or bool(b.any()):
                full = f"{parent}.{part}"
                # Buffers are as wide as the largest rank allowed; beyond ours they must be empty.
                is_clean = not (bool(a[rank:].any()) or bool(b[:, rank:].any()))
                digests[full] = _digest(a[:rank], b[:, :rank]) if is_clean else "left-overs"
    return digests


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(str(flat.dtype).encode() + flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _compare(held: Mapping[str, str], expected: Mapping[str, str], version: int) -> None:
    wrong = sorted(n for n in held.keys() | expected.keys() if held.get(n) != expected.get(n))
    if wrong:
        raise StalePolicyError(
            f"after the adapter of version {version} was published, vLLM's buffers hold something "
            f"else in {len(wrong)} of {len(expected)} layers, first {wrong[0]}; nothing was "
            "sampled from it. If this model cannot take adapters, use learner.lora.publish = merged"
        )
