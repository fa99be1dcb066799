"""One process group for learner and engine, without a network listener at world size 1."""

from __future__ import annotations

import os

import torch


def ensure_process_group() -> None:
    """Make the process group that DeepSpeed and an in-process vLLM engine share.

    At world size 1 an in-memory store replaces the TCP one, so nothing listens, and DeepSpeed's
    shared-memory kernel (compiled for 1-2 minutes at the first start) is marked as not wanted:
    one rank has nobody to share memory with.
    """
    import deepspeed.ops

    if torch.distributed.is_initialized():
        return
    # DeepSpeed asks the environment, not the group, who it is.
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
