"""One process holds learner and engine: a CPU or one GPU.

Learner and engine share the process group made here. At world size 1 an in-memory store replaces
the TCP one, so nothing listens.
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


def prepare_process(section: ClusterSection) -> ProcessSetup:
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
    _ensure_process_group(on_gpu)
    return ProcessSetup(threads, deterministic, "cuda" if on_gpu else "cpu")


def _ensure_process_group(on_gpu: bool) -> None:
    if torch.distributed.is_initialized():
        return
    # DeepSpeed asks the environment, not the group, who it is.
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
