"""The policy's weights on their way out: to engines, to the disk, into digests.

Every function is a collective: all ranks call it alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from rlreason.learner.hashing import hash_value
from rlreason.learner.lora import Adapter
from rlreason.learner.sharded import named_parameters


class Weights:
    """The weights of a model, or of the adapter that alone trains in it."""

    def __init__(self, model: Any, adapter: Adapter | None, stage: int) -> None:
        """Speak for ``model``, partitioned as ZeRO's ``stage`` does it."""
        self._model, self._adapter, self._stage = model, adapter, stage

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        """All that trains, under the model's names, a bucket at once."""
        return named_parameters(self._model, self._stage)

    def published(self) -> Iterator[tuple[str, Tensor]]:
        """What an engine is given."""
        return self.trained() if self._adapter is None else self._adapter.published()

    def export_policy(self, folder: Path, tokenizer: Any, *, writes: bool) -> None:
        """Have the rank that ``writes`` write a policy that transformers and vLLM load."""
        whole = self.trained() if self._adapter is None else self._adapter.merged()
        weights = {name: tensor.to("cpu", copy=True) for name, tensor in whole if writes}
        if writes:
            self._model.save_pretrained(folder, state_dict=weights)
            tokenizer.save_pretrained(folder)

    def export_adapter(self, folder: Path, *, writes: bool) -> None:
        """Have the rank that ``writes`` write the adapter, where there is one, as peft loads it."""
        if writes and self._adapter is not None:
            self._adapter.export(folder)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the ``parameters`` that train and, below an adapter, of the ``base``."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.trained(), key=lambda item: item[0]):
            hash_value(digest, name, tensor)
        base = {} if self._adapter is None else {"base": self._adapter.base_digest()}
        return {"parameters": digest.hexdigest()} | base
