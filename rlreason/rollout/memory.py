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
    blocks = math.ceil(max_len / BLOCK_TOKENS) + 1
    wanted = concurrent * blocks * BLOCK_TOKENS * per_token
    least = 2 * blocks * BLOCK_TOKENS * per_token
    return CachePlan(concurrent, per_token, max(least, min(wanted, int(MAX_SHARE * _free()))))


def _free() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
