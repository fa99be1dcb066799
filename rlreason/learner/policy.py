"""The policy as a torch module: load it, take logprobs from it, export it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.utils import logging as hf_logging

from rlreason.algorithms.batching import MicroBatch
from rlreason.algorithms.logprobs import chunk_size, chunked_logprobs
from rlreason.config import ModelSection


class PolicyScorer(nn.Module):
    """A causal language model that returns logprobs of given tokens instead of logits.

    DeepSpeed wraps this module, so the head is used inside its forward (ZeRO-3 gathers
    parameters per module call) and only at the positions that the loss counts.
    """

    def __init__(self, model: Any, *, temperature: float, logits_mib: int) -> None:
        super().__init__()
        self.model: Any = model
        self._temperature = temperature
        self._chunk = chunk_size(model.config.vocab_size, logits_mib)

    def forward(self, batch: MicroBatch, entropy_gradient: bool = False) -> tuple[Tensor, Tensor]:
        """Logprobs and entropies, both [loss tokens] float32 nats, of ``batch.targets``."""
        hidden = self.model.get_decoder()(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        ).last_hidden_state  # [batch, seq, width]
        return chunked_logprobs(
            hidden.flatten(0, 1)[batch.predicts],
            self.model.get_output_embeddings(),
            batch.targets,
            temperature=self._temperature,
            chunk=self._chunk,
            entropy_gradient=entropy_gradient,
        )


def max_shared_row(config: Any) -> int:
    """Longest row in which sequences may share their prompt; 0 where the model cannot do it.

    It needs an attention that takes any mask, in every layer, and rotary positions. Over a row as
    long as the model is wide, attention costs about a sixth of the matrix products.
    """
    full = set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    able = (
        config._attn_implementation == "sdpa"
        and full
        and getattr(config, "sliding_window", None) is None
        and getattr(config, "rope_parameters", None) is not None
    )
    return config.hidden_size if able else 0


def load_model(path: Path | str, section: ModelSection) -> Any:
    """Load the causal language model at ``path`` for training.

    Dropout is switched off: the learner's forward must be the distribution that the engine
    sampled from, or every ratio and the mismatch alarm would measure dropout noise.
    """
    hf_logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=getattr(torch, section.dtype), attn_implementation=section.attention
    )
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for name in ("attention_dropout", "attn_dropout", "resid_dropout"):
        if getattr(model.config, name, 0.0):
            setattr(model.config, name, 0.0)
    if section.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    return model


def load_frozen(path: Path | str, section: ModelSection) -> Any:
    """Load a model that only scores: the reference of a KL term, or a teacher."""
    model = load_model(path, section.model_copy(update={"gradient_checkpointing": False}))
    return model.requires_grad_(False).eval()
