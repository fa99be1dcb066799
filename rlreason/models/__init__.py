"""The models that rlreason ships or takes from a Python package, by name."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from rlreason.errors import ConfigError

HERE = Path(__file__).parent
SMOLLM2 = "smollm2-135m"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/\w[\w.-]*")


def shipped_models() -> list[str]:
    """Names that ``model.path`` may hold beside folders and hub names."""
    folders = [entry.name for entry in HERE.iterdir() if (entry / "config.json").is_file()]
    return sorted([*folders, SMOLLM2])


def resolve_model(path: str, *, field: str = "model.path") -> Path | str:
    """Folder of a shipped model or a local folder; a hub name comes back as it is.

    ``field`` is where the recipe names it, for messages.

    Nothing is downloaded here; a hub name is the user's own wish to download.

    Raises:
        ConfigError: If nothing of that name exists.
    """
    if path == SMOLLM2:
        from rlreason.models.smollm2 import smollm2_folder  # needs torch and the smollm2 extra

        return smollm2_folder()
    if (HERE / path / "config.json").is_file() and path in shipped_models():
        return HERE / path
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(f"{field} = {path!r}: the folder holds no config.json")
        return folder
    if _HUB_NAME.fullmatch(path) and not path.startswith(("./", "../", "/")):
        return path
    close = difflib.get_close_matches(path, shipped_models(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"shipped: {', '.join(shipped_models())}"
    raise ConfigError(f"{field} = {path!r}: no such folder and no shipped model; {hint}")
