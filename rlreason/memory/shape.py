"""The sizes of a model that its memory depends on, from its configuration alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from rlreason.errors import ConfigError


class ModelShape(NamedTuple):
    """The sizes of a decoder that its memory depends on."""

    parameters: int
    """Tied ones once."""
    layers: int
    width: int
    attention_width: int
    """Query heads times head size."""
    key_width: int
    """Key heads times head size; values are as wide."""
    inner_width: int
    vocabulary: int

    def bytes_of(self, dtype: str) -> int:
        """Bytes of an element of ``dtype``."""
        return 2 if dtype == "bfloat16" else 4


def model_shape(path: Path | str) -> ModelShape:
    """Read the shape from the model's configuration; no weight is loaded.

    Raises:
        ConfigError: If there is no configuration of a causal language model.
    """
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(path)
        return shape_of(config)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no configuration of a language model: {error}") from error


def shape_of(config: Any) -> ModelShape:
    """The shape behind a transformers configuration; the modules are built without memory."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        attention_width=heads * head,
        key_width=(getattr(config, "num_key_value_heads", None) or heads) * head,
        inner_width=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        vocabulary=config.vocab_size,
    )
