"""The sections that every kind of run has: identity, model, data, rewards, machine, logs."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rlreason.config.lora import LoraSection
from rlreason.config.section import Section as Section

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a run or a pool may be called: it becomes a folder or a key, so no slashes, no ``..``."""


class PluginConfig(BaseModel):
    """A dotted path and the options of what it names. A bare string is a path without options."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    use: str
    """``package.module:Class`` or ``path/to/file.py:Class``."""

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        return {"use": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """Everything beside ``use``."""
        return dict(self.model_extra or {})


def checked_name(value: str) -> str:
    """``value``, or an error that says what a name may be."""
    if not NAME_PATTERN.fullmatch(value):
        raise ValueError(
            "a name has 1 to 128 letters, digits, '.', '_' or '-' and starts with a letter or digit"
        )
    return value


class RunSection(Section):
    """Identity and length of the run."""

    name: str = "run"
    """Name of the run folder."""
    folder: str = "runs"
    """Where run folders live."""
    seed: int = Field(default=0, ge=0)
    """Seeds draws, sampling and random rewards."""
    steps: int = Field(default=100, ge=1)
    """Steps in all; raising it later continues the run."""
    checkpoint_every: int = Field(default=20, ge=1)
    """Steps between checkpoints; the last step always makes one."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest checkpoints kept; older ones are removed after a newer one is safe."""
    on_pool_change: Literal["error", "adapt"] = "error"
    """When a run is continued with pools added, removed or renamed. ``error``: refuse and name
    them. ``adapt``: kept pools keep their curriculum state and cursor, new ones start unseen, those
    of removed ones are dropped (a renamed pool is both); options of the curriculum may change with
    them; steps after the newest checkpoint are sampled again."""

    _name = field_validator("name")(checked_name)


class ModelSection(Section):
    """The policy."""

    path: str
    """A shipped name (``tiny-arithmetic``, ``smollm2-135m``), a local folder, or a hub name."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of learner and engine."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention of the learner's forward."""
    gradient_checkpointing: bool = False
    """Trade a second forward for activation memory."""


class PromptSection(Section):
    """How a problem becomes tokens. Message-list prompts always go through the chat template."""

    style: Literal["chat", "text"] = "chat"
    """``chat``: a text prompt becomes a user turn of the model's chat template; ``text``: raw."""
    system: str | None = None
    """System turn in front, chat only."""
    shots: tuple[tuple[str, str], ...] = ()
    """Worked examples as [question, answer] turns in front, chat only."""
    template: str = "{problem}"
    """Text around a text prompt; ``{problem}`` is replaced."""
    max_tokens: int = Field(default=2048, ge=1)
    """A problem whose prompt is longer is a bad row."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "{problem}" not in self.template:
            raise ValueError(f"prompt.template = {self.template!r} must contain '{{problem}}'")
        if self.style == "text" and (self.system is not None or self.shots):
            raise ValueError("prompt.system and prompt.shots need prompt.style = chat")
        return self


class SelectionSection(Section):
    """Keeps the best-ranked training problems of a pool; held-out ones stay as they are."""

    run: str
    """Folder of an earlier run, whose pool of the same name gives the history."""
    by: Literal["historical_variance", "easiest", "hardest"] = "historical_variance"
    """Variance of a problem's accuracy over its visits (1-shot RLVR), or its mean accuracy."""
    keep: int = Field(ge=1)
    """Problems kept."""
    min_visits: int = Field(default=2, ge=1)
    """How often that run must have drawn a problem; one that was drawn less is not ranked."""


class PoolSection(Section):
    """A named source of problems with its reward."""

    name: str
    """Unique; appears in logs and reports."""
    source: str
    """``arithmetic:TASK``, ``reasoning_gym:TASK``, ``datasets:NAME_OR_FOLDER``, a ``.jsonl`` or
    ``.parquet`` file, or a plug-in path."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the source."""
    reward: PluginConfig | None = None
    """This pool's reward; without one, ``scoring.reward``."""
    held_out: int = Field(default=64, ge=0)
    """Problems kept from training for evaluation, chosen by hash, never by order or seed."""
    select: SelectionSection | None = None
    """Train on a few problems alone, chosen by an earlier run's journal; null: on all."""

    _name = field_validator("name")(checked_name)


class ScoringSection(Section):
    """Rewards and the limits around them."""

    reward: PluginConfig | None = None
    """Reward of every pool that names none."""
    evaluation_reward: PluginConfig | None = None
    """Scores held-out completions; without one, the pool's reward."""
    workers: int = Field(default=1, ge=1)
    """Worker processes."""
    time_limit_s: float = Field(default=5.0, gt=0)
    """Wall time for one completion, from dispatch; then the worker is killed and replaced."""
    memory_limit_gib: float = Field(default=2.0, gt=0)
    """Address space of a worker."""
    max_infra_frac: float = Field(default=0.2, ge=0, le=1)
    """A step with a larger share of scorer faults (not the model's) stops the run."""


class LearnerSection(Section):
    """The optimizer and its memory."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """Peak learning rate of AdamW."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After warm-up: constant, or down to 0 at run.steps."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps of linear warm-up."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decoupled decay."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's moments."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradient norm is clipped to this."""
    tokens_per_microbatch: int = Field(default=8192, ge=1)
    """Positions of one forward and backward; bounds activation memory, changes no result."""
    logits_mib: int = Field(default=512, ge=1)
    """Memory for the float32 logits that exist at once; bounds memory, changes no result."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO stage."""
    lora: LoraSection | None = None
    """Train low-rank adapters alone; null: all weights."""
    mismatch_limit: float | None = Field(default=None, gt=0)
    """Mean absolute gap (nats) between rollout and learner logprobs that stops the run as stale;
    null: 1e-4 in float32, 0.1 in bfloat16."""
    deepspeed: dict[str, Any] = Field(default_factory=dict)
    """Merged into the DeepSpeed configuration; wins over what rlreason derives."""

    @model_validator(mode="after")
    def _lora_is_not_partitioned(self) -> Self:
        stage = self.deepspeed.get("zero_optimization", {}).get("stage", self.zero_stage)
        if self.lora is not None and stage == 3:
            raise ValueError(
                "lora with zero_stage = 3 is not supported: its adapters are read and merged whole "
                "on every rank; use zero_stage 0, 1 or 2 (gradients and optimizer state are those "
                "of the adapters alone)"
            )
        return self


class DeadlineSection(Section):
    """Seconds after which a part that gives no sign of life is killed and replaced."""

    start_s: float = Field(default=1800.0, gt=0)
    """From the start of a process to its first answer, model load and compilation included."""
    sample_s: float = Field(default=300.0, gt=0)
    """An engine at work reports at least once a second; so long may it be silent."""
    learn_s: float = Field(default=3600.0, gt=0)
    """One update, save or load of the learner."""
    publish_s: float = Field(default=600.0, gt=0)
    """Handing one policy version to all engines."""


class ClusterSection(Section):
    """Where the parts live."""

    backend: Literal["inline", "ray"] = "inline"
    """``inline``: one process holds learner and engine. ``ray``: each learner rank and each engine
    is a Ray actor, on this machine or on a cluster."""
    learners: int = Field(default=1, ge=1)
    """Data-parallel ranks of the learner (ray)."""
    engines: int = Field(default=1, ge=1)
    """vLLM engines, each with the whole model (ray)."""
    layout: Literal["colocated", "separate"] = "colocated"
    """Ray on GPUs: a learner rank and an engine on each GPU, or a GPU for each of them."""
    address: str | None = None
    """A running Ray cluster (``auto`` or host:port); null starts one on this machine's loopback."""
    weight_sync: Literal["shared_memory", "cuda_ipc", "nccl"] = "shared_memory"
    """How new weights reach the engines (ray). ``shared_memory``: over the host, anywhere.
    ``cuda_ipc``: engines read their rank's GPU memory; colocated alone. ``nccl``: a broadcast from
    rank 0's GPU; separate alone. The last two have never been run on a GPU."""
    deadlines: DeadlineSection = DeadlineSection()
    gpu_gib: float | None = Field(default=None, gt=0)
    """Memory of a GPU for the memory plan; null: what is found here."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of learner and engine; 0: one per core."""
    deterministic: bool | None = None
    """Bit-exact continuation after a kill; null: on CPU yes, on GPU no."""

    @model_validator(mode="after")
    def _fits_its_backend(self) -> Self:
        if self.backend == "inline" and (self.learners, self.engines) != (1, 1):
            raise ValueError(
                f"learners = {self.learners} and engines = {self.engines} need backend: ray; "
                "inline is one of each"
            )
        if self.backend == "inline" and self.address is not None:
            raise ValueError("address names a Ray cluster and needs backend: ray")
        return self

    @model_validator(mode="after")
    def _weights_have_a_way(self) -> Self:
        if self.weight_sync == "shared_memory":
            return self
        layout = {"cuda_ipc": "colocated", "nccl": "separate"}[self.weight_sync]
        if self.backend == "inline" or self.layout != layout:
            raise ValueError(
                f"weight_sync = {self.weight_sync} needs backend: ray and layout: {layout}, but "
                f"they are {self.backend} and {self.layout}: GPU memory is shared between the "
                "processes of one GPU, NCCL connects GPUs; or take weight_sync: shared_memory"
            )
        return self


class EvaluationSection(Section):
    """Held-out evaluation."""

    every: int = Field(default=20, ge=0)
    """Steps between evaluations; the first and the last version are always evaluated unless 0."""
    samples: int = Field(default=4, ge=0)
    """Sampled completions per problem for avg@k and pass@k; 0: greedy only."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of the samples; the greedy answer is always taken too."""


class LogSection(Section):
    """Trackers beside the run folder. Null is off; a mapping is passed to the tracker's init."""

    wandb: dict[str, Any] | None = None
    """``{project: ..., mode: offline, ...}``; needs the wandb extra."""
    trackio: dict[str, Any] | None = None
    """``{project: ...}``; needs the trackio extra."""
