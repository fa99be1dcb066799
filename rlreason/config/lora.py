"""Training low-rank adapters in place of the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlreason.config.section import Section


class LoraSection(Section):
    """LoRA: beside each targeted matrix W a product B A of low rank is trained, and W is frozen.

    Wants about ten times the learning rate of full training. The reference of a KL term is the
    model without its adapter, or with an earlier one, and needs no second copy of the weights.
    """

    rank: int = Field(default=16, ge=1, le=512)
    """Rank of B A."""
    alpha: int = Field(default=32, ge=1)
    """B A is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before A. Critique fine-tuning only: the learner of a GRPO run must compute the
    distribution that was sampled from."""
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = (
        "all-linear"
    )
    """Names or ends of names of linear layers (``[q_proj, v_proj]``); ``all-linear``: every one
    but the language-model head."""
    publish: Literal["merged", "adapter"] = "merged"
    """What the engine gets after each step. ``merged``: whole weights, W + B A summed in float32;
    nothing is slower than without LoRA. ``adapter``: A and B alone, through vLLM's LoRA: little to
    send and nothing lost by rounding in bfloat16, for slower sampling."""
