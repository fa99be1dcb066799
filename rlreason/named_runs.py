"""Finds the run, or the sweep, that the command line names."""

from __future__ import annotations

from pathlib import Path

from rlreason.config_mistakes import nearest
from rlreason.errors import ConfigError

RUNS = Path("runs")
"""Where runs are looked for by name; run.folder's default."""


SWEEPS = Path("sweeps")
"""Where sweeps are looked for by name; a sweep file's default."""


def find_sweep(name: str) -> Path | None:
    """The sweep folder of that path, else of that name under ``sweeps``; None if it is no sweep."""
    for folder in (Path(name), SWEEPS / name):
        if "\0" not in name and (folder / "sweep.yaml").is_file():
            return folder
    return None


def find_run(name: str) -> Path:
    """The folder of that path, else the run of that name under ``runs``.

    Raises:
        ConfigError: If neither holds a run, naming the closest one.
    """
    for folder in (Path(name), RUNS / name):
        if "\0" not in name and (folder / "config.yaml").is_file():
            return folder
    known = sorted(path.parent.name for path in RUNS.glob("*/config.yaml"))
    hint = nearest(name, known) if known else "; there are no runs here yet"
    raise ConfigError(f"run {name!r}: no run folder of that path or under {RUNS}{hint}")
