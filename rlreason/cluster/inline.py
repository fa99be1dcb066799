"""What a process is set to before a learner or an engine is made in it.

Learner and engine of one process share the process group made here. At world size 1 an in-memory
store replaces the TCP one, so nothing listens.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from rlreason.config import ClusterSection


class ProcessSetup(NamedTuple):
    """What this process was set to."""

    threads: int
    deterministic: bool
    device: str


class RankPlace(NamedTuple):
    """Which learner rank a process is, and how it meets the others."""

    rank: int = 0
    ranks: int = 1
    meeting: str = ""
    """``file:///path`` or ``tcp://host:port`` that all ranks reach; unused by a single one."""


def prepare_process(section: ClusterSection, place: RankPlace = RankPlace()) -> ProcessSetup:  # noqa: B008
    """Set threads, determinism and the process group. Call before learner and engine are made."""
    threads = section.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else it warns
    deterministic = section.deterministic if section.deterministic is not None else not on_gpu
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    _ensure_process_group(place, on_gpu)
    return ProcessSetup(threads, deterministic, "cuda" if on_gpu else "cpu")


def _ensure_process_group(place: RankPlace, on_gpu: bool) -> None:
    if torch.distributed.is_initialized():
        return
    # DeepSpeed asks the environment, not the group, who it is. Ray shows a rank its own GPU alone.
    os.environ |= {
        "RANK": str(place.rank),
        "LOCAL_RANK": "0",
        "WORLD_SIZE": str(place.ranks),
    }
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    if place.ranks == 1:
        store = torch.distributed.HashStore()  # type: ignore[attr-defined]
        torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
        return
    torch.distributed.init_process_group(
        backend, init_method=place.meeting, rank=place.rank, world_size=place.ranks
    )
