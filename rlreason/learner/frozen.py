"""A policy that only scores: the reference of a KL term, or the teacher of a distillation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlreason.algorithms.batching import MicroBatch
from rlreason.learner.hashing import hash_value
from rlreason.learner.policy import PolicyScorer


class FrozenPolicy:
    """Gives logprobs and no gradient. Its weights change as a whole, or not at all."""

    def __init__(
        self, model: Any, *, device: torch.device, temperature: float, logits_mib: int
    ) -> None:
        """Take over ``model``, a causal language model without gradients."""
        self._model = model.to(device)
        self._scorer = PolicyScorer(self._model, temperature=temperature, logits_mib=logits_mib)
        self._digest: str | None = None
        self._replaced = False

    def logprobs(self, batch: MicroBatch) -> Tensor:
        """[loss tokens] float32 nats, no gradient."""
        with torch.no_grad():
            logprobs: Tensor = self._scorer(batch)[0]
        return logprobs

    def replace(self, tensors: Iterator[tuple[str, Tensor]]) -> None:
        """Take over other weights, tied tensors once, under the names of this model."""
        mine = dict(self._model.named_parameters())
        with torch.no_grad():
            for name, tensor in tensors:
                mine.pop(name).copy_(tensor)
        assert not mine, f"no tensors for {sorted(mine)}"
        self._digest, self._replaced = None, True

    def digest(self) -> str:
        """SHA-256 over the weights; computed once for as long as they stay."""
        if self._digest is None:
            digest = hashlib.sha256()
            for name, tensor in sorted(self._model.named_parameters(), key=lambda item: item[0]):
                hash_value(digest, name, tensor)
            self._digest = digest.hexdigest()
        return self._digest

    def save(self, path: Path) -> None:
        """Write the weights as safetensors, unless they are those that the run started with."""
        if self._replaced:
            weights = {name: p.detach().contiguous() for name, p in self._model.named_parameters()}
            save_file(weights, path)

    def load(self, path: Path) -> None:
        """Continue from ``save``."""
        if path.exists():
            self.replace(iter(load_file(path).items()))
