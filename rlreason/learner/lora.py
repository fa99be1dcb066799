"""LoRA: low-rank adapters in the policy, which alone train. The only file that imports peft.

The model keeps its class: peft's layers take the place of the targeted linear ones. Adapter tensors
go by the names of peft's own files, so what is published is what is exported.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlreason.algorithms.batching import MicroBatch
from rlreason.config import LoraSection
from rlreason.errors import CheckpointError
from rlreason.learner.hashing import hash_value

log = logging.getLogger(__name__)

WEIGHTS = "adapter_model.safetensors"
"""Name of the tensors in peft's folder, beside ``adapter_config.json``."""
_NAME = "default"
"""What peft calls the one adapter inside the model."""
_PREFIX = "base_model.model."
"""What peft's files put in front of the model's own names."""


class Adapter:
    """The LoRA layers of a policy: how they come in, and how they leave."""

    def __init__(
        self,
        model: Any,
        section: LoraSection,
        *,
        seed: int,
        base: Path | str,
        saved: Path | None = None,
    ) -> None:
        """Put an adapter that changes nothing into ``model``, or the one that was ``saved``.

        Args:
            model: The policy; its own weights are frozen from now on.
            section: Shape of the adapter.
            seed: Of the adapter's random half.
            base: Where the model's weights lie, for the exported folder.
            saved: Folder that ``export`` wrote.

        Raises:
            CheckpointError: If ``saved`` does not hold exactly this adapter's tensors.
        """
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer

        targets = section.target_modules
        self._config = LoraConfig(
            r=section.rank,
            lora_alpha=section.alpha,
            lora_dropout=section.dropout,
            target_modules=targets if isinstance(targets, str) else list(targets),
            task_type="CAUSAL_LM",
            base_model_name_or_path=str(base),
        )
        self.model, self._section = model, section
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject_adapter_in_model(self._config, model)
        self._layers = {n: m for n, m in model.named_modules() if isinstance(m, LoraLayer)}
        dtype = next(model.parameters()).dtype
        for _, parameter in self._parameters():
            parameter.data = parameter.data.to(dtype)  # peft prefers float32
        if saved is not None:
            self._load(saved / WEIGHTS)
        self._base_digest: str | None = None
        log.info(
            "learner: LoRA of rank %d in %d layers, %d parameters train",
            section.rank,
            len(self._layers),
            sum(parameter.numel() for _, parameter in self._parameters()),
        )

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """A and B of every layer, under the names of peft's files."""
        for name, layer in self._layers.items():
            for part in ("lora_A", "lora_B"):
                yield f"{_PREFIX}{name}.{part}.weight", getattr(layer, part)[_NAME].weight

    def _load(self, path: Path) -> None:
        if not path.is_file():
            raise CheckpointError(f"{path.parent}: holds no adapter ({path.name} is missing)")
        saved, mine = load_file(path), dict(self._parameters())
        odd = sorted(
            name
            for name in saved.keys() | mine.keys()
            if name not in saved or name not in mine or saved[name].shape != mine[name].shape
        )
        if odd:
            raise CheckpointError(
                f"{path}: holds another adapter than learner.lora asks for (first: {odd[0]})"
            )
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(saved[name])

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The adapter alone, under the names of peft's files."""
        return ((name, parameter.detach()) for name, parameter in self._parameters())

    def merged(self) -> Iterator[tuple[str, Tensor]]:
        """Whole weights under the names that they have without an adapter.

        Always summed anew from the frozen weight: a sum that was taken back would leave rounding.
        """
        for name, parameter in self._frozen():
            layer = self._layers.get(name.removesuffix(".weight"))
            yield name, parameter if layer is None else _sum(parameter, layer)

    def _frozen(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                yield name.replace(".base_layer.", "."), parameter.detach()

    def published(self) -> Iterator[tuple[str, Tensor]]:
        """What the engine is given of a new version."""
        return self.tensors() if self._section.publish == "adapter" else self.merged()

    def base_digest(self) -> str:
        """SHA-256 of the frozen weights, which are in no checkpoint; computed once."""
        if self._base_digest is None:
            digest = hashlib.sha256()
            for name, tensor in sorted(self._frozen(), key=lambda item: item[0]):
                hash_value(digest, name, tensor)
            self._base_digest = digest.hexdigest()
        return self._base_digest

    def export(self, folder: Path) -> None:
        """Write the adapter as peft reads it; ``folder`` is made."""
        folder.mkdir()
        tensors = {name: tensor.to("cpu", copy=True) for name, tensor in self.tensors()}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        self._config.inference_mode = True
        self._config.target_modules = sorted(self._config.target_modules)  # a set has no order
        self._config.save_pretrained(folder)


def _sum(weight: Tensor, layer: Any) -> Tensor:
    a, b = (getattr(layer, part)[_NAME].weight.detach().float() for part in ("lora_A", "lora_B"))
    return (weight.float() + layer.scaling[_NAME] * (b @ a)).to(weight.dtype)


class EarlierAdapter:
    """The reference of a KL term: the policy's frozen weights under an earlier adapter.

    Keeps learner.frozen.FrozenPolicy's contract with a copy of the adapter alone.
    """

    def __init__(self, scorer: nn.Module) -> None:
        """Start from the model without its adapter; ``scorer`` holds the policy as ``model``."""
        self._scorer = scorer
        self._held = {
            name: torch.zeros_like(parameter)
            for name, parameter in scorer.named_parameters()
            if parameter.requires_grad
        }
        self._replaced = False

    def logprobs(self, batch: MicroBatch) -> Tensor:
        """[loss tokens] float32 nats, no gradient."""
        with torch.no_grad():
            logprobs: Tensor = torch.func.functional_call(self._scorer, self._held, (batch,))[0]
        return logprobs

    def replace(self, tensors: Iterator[tuple[str, Tensor]]) -> None:
        """Take over another adapter, under the names of the model's parameters."""
        given = {f"model.{name}": tensor for name, tensor in tensors}
        assert given.keys() == self._held.keys(), "another model's adapter"
        for name, tensor in given.items():
            self._held[name].copy_(tensor)
        self._replaced = True

    def digest(self) -> str:
        """SHA-256 of the adapter; the weights below it have a digest of their own."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._tensors().items()):
            hash_value(digest, name, tensor)
        return digest.hexdigest()

    def _tensors(self) -> Mapping[str, Tensor]:
        return {name.removeprefix("model."): tensor for name, tensor in self._held.items()}

    def save(self, path: Path) -> None:
        """Write the adapter as safetensors, unless it is the one that the run started with."""
        if self._replaced:
            save_file(dict(self._tensors()), path)

    def load(self, path: Path) -> None:
        """Continue from ``save``."""
        if path.exists():
            self.replace(iter(load_file(path).items()))
