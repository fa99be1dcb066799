"""Whether a model can be given the adapter that a recipe asks for; no weight is loaded."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path
from typing import Any

from rlreason.config import LoraSection
from rlreason.errors import ConfigError


def check_lora(section: LoraSection | None, model: Path | str) -> None:
    """Refuse an adapter that could not be trained.

    Raises:
        ConfigError: If peft is missing, or a target is no linear layer of ``model``.
    """
    if section is None:
        return
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(
            "learner.lora needs the package peft, not installed here: pip install 'rlreason[lora]'"
        )
    if section.target_modules != "all-linear":
        _check_targets(section.target_modules, model)


def linear_layers(model: Any) -> dict[str, Any]:
    """Name -> module of all that an adapter may target: linear layers, but not the head."""
    from torch.nn import Linear

    head = model.get_output_embeddings()
    return {n: m for n, m in model.named_modules() if isinstance(m, Linear) and m is not head}


def explicit_targets(section: LoraSection, path: Path | str) -> LoraSection:
    """The section with the last names of its targets in place of ``all-linear`` or longer ones."""
    if isinstance(section.target_modules, str):
        names = linear_layers(bare_model(path)).keys()
    else:
        names = dict.fromkeys(section.target_modules).keys()
    targets = sorted({name.rpartition(".")[2] for name in names})
    return section.model_copy(update={"target_modules": tuple(targets)})


def bare_model(path: Path | str) -> Any:
    """The model at ``path`` without its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))


def _check_targets(targets: tuple[str, ...], path: Path | str) -> None:
    model = bare_model(path)
    linear = linear_layers(model)
    known = sorted({name.rpartition(".")[2] for name in linear})
    for target in targets:
        matches = [name for name, _ in model.named_modules() if f".{name}".endswith(f".{target}")]
        where = f"learner.lora.target_modules: {target!r}"
        if not matches:
            close = difflib.get_close_matches(target, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"{where} is no module of the model; {hint}")
        others = [name for name in matches if name not in linear]
        if others:
            raise ConfigError(
                f"{where} names {others[0]}, which is no linear layer inside the model (embeddings "
                f"and head take no adapter here); known: {', '.join(known)}"
            )
