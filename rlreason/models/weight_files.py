"""Whether a model's weight files are there and whole, found out without reading the weights."""

from __future__ import annotations

import json
from pathlib import Path

from rlreason.errors import ConfigError

INDEX = "model.safetensors.index.json"


def check_weight_files(folder: Path, *, field: str, value: str) -> None:
    """Refuse a folder whose weights cannot be loaded; their headers say how long files must be.

    Args:
        folder: Of the model.
        field: Where the recipe names it, for messages.
        value: What the recipe says there.

    Raises:
        ConfigError: Naming the file that is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    missing = sorted(_named_by_index(folder) - {file.name for file in files})
    if missing or not files:
        what = f"{missing[0]}, which {INDEX} names" if missing else "any .safetensors file"
        raise ConfigError(
            f"{field} = {value!r}: the folder lacks {what}, so no weights that can be loaded"
        )
    for file in files:
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ConfigError(
                f"{field} = {value!r}: {file.name} is damaged ({error}); copy it again"
            ) from None


def _named_by_index(folder: Path) -> set[str]:
    index = folder / INDEX
    if not index.is_file():
        return set()
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        return set()  # transformers and vLLM say what is wrong with it
