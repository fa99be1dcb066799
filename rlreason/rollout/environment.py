"""What vLLM reads from the environment when it is imported."""

from __future__ import annotations

import os

import torch


def prepare_environment(threads: int) -> None:
    """Settings that vLLM reads from the environment at import. A user's own values win."""
    settings = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives in this process
        "VLLM_HOST_IP": "127.0.0.1",  # nothing listens beyond loopback
        # vLLM's own set-up would close the handlers of everybody else, the run's log among them.
        "VLLM_CONFIGURE_LOGGING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    if not torch.cuda.is_available():
        settings |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # pinned threads spin when a core is shared
            "OMP_NUM_THREADS": str(threads),
            # vLLM compiles two one-line sampling helpers at the first token, 13 s with a cold
            # cache; run eagerly they cost nothing that can be measured.
            "TORCHDYNAMO_DISABLE": "1",
        }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
