"""What a learner rank holds on its GPU, per ZeRO stage, and the peak of an update.

The factors were read off DeepSpeed 0.19 by counting every tensor of a real update on a CPU, at one
to four ranks (tests/memory/test_learner_memory.py does it again).
"""

from __future__ import annotations

from typing import NamedTuple

from rlreason.config import GrpoConfig
from rlreason.memory.shape import ModelShape

MASTER = 4
"""Bytes of a float32 master weight."""
MOMENTS = 8
"""Bytes of AdamW's two float32 moments."""
STAGE3_LIVE = 1_000_000_000
"""Parameters that DeepSpeed's stage 3 holds whole at once at most (its own default)."""
STAGE0_BUCKET = 500_000_000
"""Gradients that DeepSpeed's stage 0 copies side by side to add them up over ranks."""
LOGITS_COPIES = 4
"""Copies of the logits at once: themselves, their log-softmax, and the gradients of both."""


class LearnerMemory(NamedTuple):
    """Bytes on a rank's GPU."""

    weights: int
    optimizer: int
    """Master weights, moments, and the gradient partition that stage 3 keeps."""
    frozen: int
    """Reference and teacher, whole on every rank."""
    gradients: int
    """Between the first backward and the optimizer's step."""
    activations: int
    """Of the largest micro-batch, logits included."""
    update: int
    """Copies of gradients while the optimizer steps, and buckets on their way between ranks."""

    @property
    def resting(self) -> int:
        """Between updates."""
        return self.weights + self.optimizer + self.frozen

    @property
    def working(self) -> int:
        """On top of ``resting`` while an update is made: backward and step do not coincide."""
        return self.gradients + max(self.activations, self.update)


def zero_stage(config: GrpoConfig) -> int:
    """The stage that DeepSpeed runs; in bfloat16 0 becomes 1, which keeps master weights."""
    given = config.learner.deepspeed.get("zero_optimization", {}).get("stage")
    stage = config.learner.zero_stage if given is None else int(given)
    return max(stage, 1 if config.model.dtype == "bfloat16" else 0)


def learner_memory(
    config: GrpoConfig,
    model: ModelShape,
    *,
    teacher: ModelShape | None,
    bucket_elements: int,
) -> LearnerMemory:
    """Bytes of one of ``cluster.learners`` ranks.

    Args:
        config: The recipe.
        model: The policy.
        teacher: Of loss distillation.
        bucket_elements: Gradients that ZeRO collects before it reduces them.
    """
    count, size = model.parameters, model.bytes_of(config.model.dtype)
    lora = config.learner.lora
    trained = adapter_parameters(model, lora.rank) if lora else count
    frozen = trained * size if config.algorithm.kl else 0  # an adapter's reference is an adapter
    frozen += teacher.parameters * size if teacher else 0
    if lora:
        memory = _trained_memory(config, model, trained, bucket_elements)
        return memory._replace(weights=memory.weights + count * size, frozen=frozen)
    return _trained_memory(config, model, count, bucket_elements)._replace(frozen=frozen)


def adapter_parameters(model: ModelShape, rank: int) -> int:
    """Of low-rank adapters beside every linear layer but the head; fewer targets have fewer."""
    attention = 2 * (model.width + model.attention_width) + 2 * (model.width + model.key_width)
    return rank * model.layers * (attention + 3 * (model.width + model.inner_width))


def _trained_memory(
    config: GrpoConfig, model: ModelShape, count: int, bucket_elements: int
) -> LearnerMemory:
    """Of the ``count`` parameters that are trained, and of the activations."""
    ranks, stage = config.cluster.learners, zero_stage(config)
    size = model.bytes_of(config.model.dtype)
    share = -(-count // ranks)
    bucket = min(count, bucket_elements) * size
    if stage == 0:
        return LearnerMemory(
            weights=count * size,
            optimizer=MOMENTS * count,
            frozen=0,
            gradients=count * size,
            activations=activations(config, model),
            update=min(count, STAGE0_BUCKET) * size if ranks > 1 else 0,
        )
    if stage == 3:
        live = min(count, STAGE3_LIVE) * size
        return LearnerMemory(
            weights=share * size,
            optimizer=(MASTER + MOMENTS + size) * share,
            frozen=0,
            gradients=0,
            activations=activations(config, model) + live + bucket,
            update=live + MASTER * share,
        )
    # The step flattens this rank's share and, in low precision, makes a float32 copy of it.
    step = (2 * size + (MASTER if size < MASTER else 0)) * share
    gradients = count * size if stage == 1 else share * size
    return LearnerMemory(
        weights=count * size,
        optimizer=(MASTER + MOMENTS) * share,
        frozen=0,
        gradients=gradients,
        activations=activations(config, model) + bucket,
        update=max(0, step - gradients) if size < MASTER else step - size * share,
    )


def activations(config: GrpoConfig, model: ModelShape) -> int:
    """Bytes that a forward leaves for the backward at the token budget, and the work around them.

    Per token and layer, in elements: each of two norms keeps its input in float32 and its
    normalised and scaled outputs; attention keeps query, key, value and output; the gated MLP
    keeps gate, its activation, up, and their product. With gradient checkpointing each layer keeps
    its input alone, and one layer at a time all of it.
    """
    tokens, size = config.learner.tokens_per_microbatch, model.bytes_of(config.model.dtype)
    layer = _layer_bytes(model, size)
    # The backward of a layer holds gradients of the MLP and of attention beside what was kept.
    widths = 2 * (model.width + model.attention_width + model.key_width)
    backward = size * (3 * model.inner_width + widths)
    kept = model.layers * layer
    if config.model.gradient_checkpointing:
        kept, backward = model.layers * model.width * size, layer + backward
    outside = model.width * (4 * size + 2 * (size + 4))  # embeddings, the last norm, its gradient
    logits = min(config.learner.logits_mib * 2**20, tokens * 4 * model.vocabulary)
    # The logits are gone before the last layer's backward begins.
    return tokens * (kept + outside) + max(tokens * backward, LOGITS_COPIES * logits)


def _layer_bytes(model: ModelShape, size: int) -> int:
    norms = 2 * model.width * (4 + 2 * size)
    attention = size * 2 * (model.attention_width + model.key_width)
    return norms + attention + size * 4 * model.inner_width
