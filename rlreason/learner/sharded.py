"""State that ZeRO spreads over ranks, seen whole: in buckets, under the parameters' own names.

What is written here depends neither on the number of ranks nor on the ZeRO stage, so a checkpoint
of N ranks continues on M. Every function that reads is a collective: all ranks call it alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlreason.algorithms.spreading import empty_microbatch
from rlreason.errors import CheckpointError
from rlreason.learner.hashing import hash_value

BUCKET_BYTES = 256 * 2**20
"""Weights that exist whole at once beside the partitions."""
SCALARS, FILES = "optimizer.json", "optimizer-{:05d}.safetensors"
MASTER = "master"
"""Key of the float32 weights behind low-precision ones."""


def named_parameters(model: Any, stage: int) -> Iterator[tuple[str, Tensor]]:
    """All that trains, whole, tied ones once; under ZeRO-3 gathered a bucket at a time."""
    everything = trained_parameters(model)
    if stage < 3:
        yield from ((name, parameter.detach()) for name, parameter in everything)
        return
    for bucket in _buckets(everything):
        with deepspeed.zero.GatheredParameters([parameter for _, parameter in bucket]):
            # A reader may copy on a stream of its own: not before they are whole, and not after
            # they are freed.
            get_accelerator().synchronize()
            for name, parameter in bucket:
                yield name, parameter.detach()
            get_accelerator().synchronize()


def trained_parameters(model: Any) -> list[tuple[str, Any]]:
    """The parameters that an optimizer moves: all of them, or an adapter's."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _buckets(parameters: Sequence[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    bucket: list[tuple[str, Any]] = []
    size = 0
    for name, parameter in parameters:
        num_bytes = parameter.ds_numel * parameter.element_size()
        if bucket and size + num_bytes > BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
        bucket.append((name, parameter))
        size += num_bytes
    if bucket:
        yield bucket


class OptimizerState:
    """The optimizer's state of one DeepSpeed engine, by parameter name."""

    def __init__(self, engine: Any, model: Any) -> None:
        self._engine, self._model = engine, model
        self._stage = engine.zero_optimization_stage()
        self._low_precision = next(model.parameters()).dtype != torch.float32

    @property
    def _states(self) -> dict[Any, dict[str, Any]]:
        optimizer = self._engine.optimizer
        return optimizer.state if self._stage == 0 else optimizer.optimizer.state

    @property
    def steps(self) -> int:
        """Updates that the optimizer has made; 0: it holds no state yet."""
        return max((int(state["step"]) for state in self._states.values() if state), default=0)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """``PARAMETER/KEY`` -> the whole tensor, in a fixed order."""
        if self.steps == 0:
            return
        state = next(state for state in self._states.values() if state)
        keys = sorted(key for key, value in state.items() if getattr(value, "ndim", 0) > 0)
        for name, parameter in trained_parameters(self._model):
            for key in keys:
                yield f"{name}/{key}", self._whole(parameter, key)
            if self._low_precision:
                yield f"{name}/{MASTER}", self._whole(parameter, MASTER)

    def _whole(self, parameter: Any, key: str) -> Tensor:
        if self._stage == 0:
            value = self._states[parameter][key]
        elif key == MASTER:
            value = safe_get_full_fp32_param(parameter)
        else:
            value = safe_get_full_optimizer_state(parameter, key)
        shape = getattr(parameter, "ds_shape", parameter.shape)
        return value.detach().reshape(shape)

    def digest(self) -> str:
        """SHA-256 of all of it."""
        digest = hashlib.sha256(str(self.steps).encode())
        for name, tensor in self.tensors():
            hash_value(digest, name, tensor)
        return digest.hexdigest()

    def save(self, folder: Path, *, writes: bool) -> None:
        """Write all of it, one bucket a file; only the rank that ``writes`` touches the disk."""
        if writes:
            folder.mkdir(exist_ok=True)
        count = 0
        for count, bucket in enumerate(_cpu_buckets(self.tensors()), start=1):
            if writes:
                save_file(bucket, folder / FILES.format(count - 1))
        if writes:
            fields = {"steps": self.steps, "files": count}
            (folder / SCALARS).write_text(json.dumps(fields) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Continue from ``save``; the weights must be those that were saved with it.

        Raises:
            CheckpointError: If the files hold other parameters than this model's.
        """
        fields = json.loads((folder / SCALARS).read_text(encoding="utf-8"))
        if fields["steps"] == 0:
            return
        if self._stage > 0:
            self._make_states()
        names = dict(trained_parameters(self._model))
        missing = set(names)
        for number in range(fields["files"]):
            for key, value in load_file(folder / FILES.format(number)).items():
                name, _, part = key.rpartition("/")
                if name not in names:
                    raise CheckpointError(f"{folder}: holds {name!r}, which the model does not")
                missing.discard(name)
                self._set(names[name], part, value)
        if missing:
            raise CheckpointError(f"{folder}: holds nothing for {sorted(missing)[:3]}")
        for state in self._states.values():
            state["step"] = torch.tensor(float(fields["steps"]), device=self._engine.device)

    def _make_states(self) -> None:
        """Make DeepSpeed build its empty states: one update by nothing, at rate 0."""
        groups = self._engine.optimizer.param_groups
        rates = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] = 0.0
        logprobs, _ = self._engine(empty_microbatch(self._engine.device))
        self._engine.backward(logprobs.sum() * 0.0, scale_wrt_gas=False)
        self._engine.step()
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate

    def _set(self, parameter: Any, key: str, value: Tensor) -> None:
        value = value.to(self._engine.device)
        if self._stage == 0:
            self._states.setdefault(parameter, {})[key] = value
        elif self._stage < 3 and key == MASTER:
            safe_set_full_fp32_param(parameter, value)
        elif self._stage < 3:
            safe_set_full_optimizer_state(parameter, value, key)
        elif key == MASTER:
            safe_set_local_fp32_param(parameter, _partition(parameter, value))
        else:
            safe_set_local_optimizer_state(parameter, _partition(parameter, value), key)


def _partition(parameter: Any, value: Tensor) -> Tensor:
    """This rank's part of a whole tensor; the last rank's is padded, which DeepSpeed forgets."""
    size = parameter.ds_tensor.ds_numel
    start = torch.distributed.get_rank(parameter.ds_process_group) * size
    part = value.flatten()[start : start + size]
    return torch.nn.functional.pad(part, (0, size - len(part)))


def _cpu_buckets(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    bucket: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        copy = tensor.to("cpu", copy=True).contiguous()
        if bucket and size + copy.nbytes > BUCKET_BYTES:
            yield bucket
            bucket, size = {}, 0
        bucket[name] = copy
        size += copy.nbytes
    if bucket:
        yield bucket
