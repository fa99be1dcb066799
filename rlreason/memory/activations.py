"""What a forward leaves for its backward, and what the two work in."""

from __future__ import annotations

from typing import NamedTuple

from rlreason.config import GrpoConfig
from rlreason.memory.shape import ModelShape

LOGITS_COPIES = 4
"""Copies of the logits at once: themselves, their log-softmax, and the gradients of both."""
HEAD_GRADIENTS = 3
"""Of the head, where logits come in several parts: their sum so far, one part's, the new sum."""


class Activations(NamedTuple):
    """Bytes at the token budget."""

    kept: int
    """For the backward, when the forward is through."""
    layer: int
    """On top while the backward of a layer works; the gradient of one matrix among it."""
    logits: int
    """On top before, from the last norm on, while logits and the head's gradient are computed."""

    @property
    def peak(self) -> int:
        """At most at once: the logits are gone before the last layer's backward begins."""
        return self.kept + max(self.layer, self.logits)


def activations(config: GrpoConfig, model: ModelShape) -> Activations:
    """Of one micro-batch that fills the token budget.

    Per token and layer, in elements: each of two norms keeps its input in float32 and its
    normalised and scaled outputs; attention keeps query, key, value and output; the gated MLP
    keeps gate, its activation, up, and their product. With gradient checkpointing each layer keeps
    its input alone, and one layer at a time all of it.
    """
    tokens, size = config.learner.tokens_per_microbatch, model.bytes_of(config.model.dtype)
    layer = _layer_bytes(model, size)
    # The gradients of up and of the activation of gate, and of the layer's output.
    backward = size * (2 * model.inner_width + model.width)
    kept = model.layers * layer
    if config.model.gradient_checkpointing:
        kept, backward = model.layers * model.width * size, layer + backward
    # The last norm's input in float32 and its outputs, and those that the head reads.
    outside = model.width * (4 + 3 * size)
    matrix = 0 if config.learner.lora else model.inner_width * model.width * size
    return Activations(
        kept=tokens * kept,
        layer=tokens * backward + matrix,
        logits=tokens * outside + _logits(config, model),
    )


def _logits(config: GrpoConfig, model: ModelShape) -> int:
    whole = config.learner.tokens_per_microbatch * 4 * model.vocabulary
    part = min(config.learner.logits_mib * 2**20, whole)
    if config.learner.lora:  # the head is frozen
        return LOGITS_COPIES * part
    head = model.vocabulary * model.width * model.bytes_of(config.model.dtype)
    if part == whole:
        return max(LOGITS_COPIES * part, part + head)
    # Recomputing a part of them beside the gradient so far, or adding this part's gradient to it.
    again = (LOGITS_COPIES - 1) * part + head
    return max(LOGITS_COPIES * part, again, HEAD_GRADIENTS * head)


def _layer_bytes(model: ModelShape, size: int) -> int:
    norms = 2 * model.width * (4 + 2 * size)
    attention = size * 2 * (model.attention_width + model.key_width)
    return norms + attention + size * 4 * model.inner_width
