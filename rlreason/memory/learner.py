"""What a learner rank holds on its GPU, per ZeRO stage, and the peak of an update.

The terms were read off DeepSpeed 0.19 by counting every tensor of real updates on a CPU, at one
and two ranks (tests/memory does it again).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rlreason.config import GrpoConfig
from rlreason.memory.activations import Activations, activations
from rlreason.memory.shape import ModelShape

MASTER = 4
"""Bytes of a float32 master weight."""
MOMENTS = 8
"""Bytes of AdamW's two float32 moments."""
STAGE0_BUCKET = 500_000_000
"""Gradients that DeepSpeed's stage 0 copies side by side to add them up over ranks."""
DEFAULTS = {
    "reduce_bucket_size": 500_000_000,
    "stage3_max_live_parameters": 1_000_000_000,
    "stage3_prefetch_bucket_size": 50_000_000,
    "sub_group_size": 1_000_000_000,
}
"""DeepSpeed's own, in elements."""


class LearnerMemory(NamedTuple):
    """Bytes on a rank's GPU."""

    weights: int
    optimizer: int
    """Master weights, moments, and the gradient partition and bucket that stage 3 keeps."""
    frozen: int
    """Reference and teacher, whole on every rank."""
    gradients: int
    """Between the first backward and the optimizer's step."""
    activations: int
    """Of the largest micro-batch, logits included; with what ZeRO works in meanwhile."""
    update: int
    """Copies of gradients while the optimizer steps."""
    start: int
    """Weights before ZeRO has divided them; nothing else is there yet."""
    host: int = 0
    """What the recipe has DeepSpeed keep in the host's memory instead."""

    @property
    def resting(self) -> int:
        """Between updates."""
        return self.weights + self.optimizer + self.frozen

    @property
    def working(self) -> int:
        """On top of ``resting`` while an update is made: backward and step do not coincide."""
        return self.gradients + max(self.activations, self.update)


class Trained(NamedTuple):
    """What is trained, and how ZeRO divides it."""

    parameters: int
    size: int
    """Bytes of one."""
    ranks: int
    bucket: int
    """Elements of the buffer that gradients are reduced in."""
    largest: int
    """Elements of the largest matrix."""
    limits: dict[str, int]
    """``DEFAULTS``, unless the recipe says otherwise."""

    @property
    def share(self) -> int:
        """Parameters of one rank."""
        return -(-self.parameters // self.ranks)

    def up_to(self, elements: int) -> int:
        """Bytes of ``elements`` parameters, or of all if there are fewer."""
        return min(self.parameters, elements) * self.size


def zero_stage(config: GrpoConfig) -> int:
    """The stage that DeepSpeed runs; in bfloat16 0 becomes 1, which keeps master weights."""
    given = _zero(config).get("stage")
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
    size, lora = model.bytes_of(config.model.dtype), config.learner.lora
    count = adapter_parameters(model, lora.rank) if lora else model.parameters
    frozen = count * size if config.algorithm.kl else 0  # an adapter's reference is an adapter
    frozen += teacher.parameters * size if teacher else 0
    given = _zero(config)
    limits = DEFAULTS | {key: int(given[key]) for key in DEFAULTS if key in given}
    derived = min(model.parameters, bucket_elements)
    trained = Trained(
        parameters=count,
        size=size,
        ranks=config.cluster.learners,
        bucket=limits["reduce_bucket_size"] if given else derived,
        largest=max(model.vocabulary, model.inner_width) * model.width,
        limits=limits,
    )
    parts = (_whole, _gradients_whole, _gradients_shared, _all_shared)[zero_stage(config)]
    memory = parts(trained, activations(config, model))
    below = model.parameters * size if lora else 0
    memory = memory._replace(
        weights=memory.weights + below, start=memory.start + below, frozen=frozen
    )
    return _offloaded(memory, given)


def adapter_parameters(model: ModelShape, rank: int) -> int:
    """Of low-rank adapters beside every linear layer but the head; fewer targets have fewer."""
    attention = 2 * (model.width + model.attention_width) + 2 * (model.width + model.key_width)
    return rank * model.layers * (attention + 3 * (model.width + model.inner_width))


def _zero(config: GrpoConfig) -> dict[str, Any]:
    """What the recipe tells DeepSpeed of ZeRO, in place of all that is derived."""
    given: dict[str, Any] = config.learner.deepspeed.get("zero_optimization", {})
    return given


def _whole(trained: Trained, held: Activations) -> LearnerMemory:
    """Stage 0: everything on every rank, gradients added up side by side."""
    whole = trained.parameters * trained.size
    return LearnerMemory(
        weights=whole,
        optimizer=MOMENTS * trained.parameters,
        frozen=0,
        gradients=whole,
        activations=held.peak,
        update=trained.up_to(STAGE0_BUCKET) if trained.ranks > 1 else 0,
        start=whole,
    )


def _gradients_whole(trained: Trained, held: Activations) -> LearnerMemory:
    """Stage 1: the optimizer's state is shared out."""
    whole = trained.parameters * trained.size
    # The step flattens this rank's share and, in low precision, makes a float32 copy of it.
    step = (2 * trained.size + _float_copy(trained)) * trained.share
    beside = whole if trained.size < MASTER else trained.size * trained.share
    return LearnerMemory(
        weights=whole,
        optimizer=(MASTER + MOMENTS) * trained.share,
        frozen=0,
        gradients=whole,
        activations=held.peak + trained.bucket * trained.size,
        update=max(0, step - beside),
        start=whole,
    )


def _gradients_shared(trained: Trained, held: Activations) -> LearnerMemory:
    """Stage 2: gradients are shared out as well.

    A full bucket is copied to be added up over ranks, and a rank whose share it touches collects
    the new gradients of its share beside those of the micro-batches before. That begins with the
    first bucket, when the backward has let go of as much as the bucket is of the model.
    """
    memory = _gradients_whole(trained, held)
    part, bucket = trained.size * trained.share, trained.up_to(trained.bucket)
    done = bucket / (trained.parameters * trained.size)
    rest = trained.parameters * trained.size - bucket
    moments = [
        held.peak,
        _left(held, done) + max(bucket, part),
        *([_left(held, 2 * done) + min(bucket, rest) + part] if rest else []),
    ]
    step = (2 * trained.size + _float_copy(trained)) * trained.share
    return memory._replace(
        gradients=part,
        activations=trained.bucket * trained.size + max(moments),
        update=max(0, step - part),
    )


def _all_shared(trained: Trained, held: Activations) -> LearnerMemory:
    """Stage 3: weights are shared out too, and gathered a part of the model at a time.

    What is gathered at once arrives in one flat buffer that stays until the last of its weights is
    used, so all through the forward where the model is small; the weights are copies of it.
    """
    limits, bucket = trained.limits, trained.up_to(trained.bucket)
    live = trained.up_to(limits["stage3_max_live_parameters"])
    arriving = trained.up_to(limits["stage3_prefetch_bucket_size"] + trained.largest)
    if trained.ranks == 1:
        live = arriving = 0  # one rank's share is the weights
    # A gradient too large for the bucket waits as it is for the next one.
    waiting = trained.largest if trained.largest > trained.bucket else 0
    reduced = max(bucket, trained.up_to(waiting))
    stepped = min(trained.share, limits["sub_group_size"])
    state = (MASTER + MOMENTS + trained.size) * trained.share
    return LearnerMemory(
        weights=trained.size * trained.share,
        optimizer=state + trained.bucket * trained.size,
        frozen=0,
        gradients=0,
        activations=live + max(held.kept + arriving, held.peak, _left(held, 0) + reduced),
        update=(trained.size + _float_copy(trained)) * stepped,
        start=trained.parameters * trained.size,
    )


def _float_copy(trained: Trained) -> int:
    """Bytes per parameter of a float32 copy of low-precision gradients."""
    return MASTER if trained.size < MASTER else 0


def _left(held: Activations, done: float) -> int:
    """Of the activations when that share of the backward is ``done``."""
    return int(held.kept * max(0.0, 1 - done)) + held.layer


def _offloaded(memory: LearnerMemory, given: dict[str, Any]) -> LearnerMemory:
    """With what the recipe has DeepSpeed move to the host."""
    if given.get("offload_optimizer", {}).get("device") == "cpu":
        memory = memory._replace(host=memory.optimizer, optimizer=0, update=0)
    if given.get("offload_param", {}).get("device") == "cpu":
        memory = memory._replace(host=memory.host + memory.weights, weights=0)
    return memory
