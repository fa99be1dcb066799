"""How much memory the engine's KV cache needs, decided before it starts and printed."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import torch

from rlreason.config import RolloutSection

BLOCK_TOKENS = 32
"""Tokens of a cache block on CPU: only whole blocks are shared between completions, and in vLLM's
own 128 no short prompt is. CUDA's blocks are smaller still, so at most one is counted too much."""
MAX_SHARE = 0.4
"""Share of free memory that the cache may take; the rest is the learner's."""


MIN_CONCURRENT = 256
"""Sequences decoded at once at least, so that evaluation does not run in thin slices."""


def concurrent_sequences(section: RolloutSection, *, engines: int = 1) -> int:
    """Sequences that one of ``engines`` decodes at once: its share of a step, and enough."""
    wanted = section.vllm.get("max_num_seqs")
    per_step = section.problems_per_step * section.group_size
    return int(wanted or max(MIN_CONCURRENT, math.ceil(per_step / engines)))


class GpuShare(NamedTuple):
    """What the memory plan leaves the engine on its GPU."""

    cache_bytes: int
    utilization: float
    """Share of the GPU that is the engine's; vLLM refuses to start if less is free."""
    batch_tokens: int
    """Prompt tokens of one forward."""
    sleeps: bool
    """Whether the engine must be able to give its memory back while the learner works."""


class CachePlan(NamedTuple):
    """What the engine is given."""

    concurrent: int
    """Sequences decoded at once."""
    bytes_per_token: int
    cache_bytes: int

    def __str__(self) -> str:
        return (
            f"KV cache {self.cache_bytes / 2**20:.0f} MiB for {self.concurrent} sequences at once "
            f"({self.bytes_per_token} B per token)"
        )


def plan_cache(model_config: Any, *, dtype_bytes: int, concurrent: int, max_len: int) -> CachePlan:
    """Size the cache for ``concurrent`` sequences of ``max_len`` tokens, within free memory.

    A cache too small for all of them is no error: vLLM then queues some.
    """
    heads = getattr(model_config, "num_key_value_heads", None) or model_config.num_attention_heads
    width = getattr(model_config, "head_dim", None) or (
        model_config.hidden_size // model_config.num_attention_heads
    )
    per_token = 2 * model_config.num_hidden_layers * heads * width * dtype_bytes
    wanted = cache_tokens(concurrent, max_len) * per_token
    least = cache_tokens(2, max_len) * per_token
    return CachePlan(concurrent, per_token, max(least, min(wanted, int(MAX_SHARE * _free()))))


def cache_tokens(sequences: int, max_len: int) -> int:
    """Tokens of a cache that holds ``sequences`` of at most ``max_len`` in whole blocks."""
    return sequences * (math.ceil(max_len / BLOCK_TOKENS) + 1) * BLOCK_TOKENS


def _free() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
