"""Seeds by hash: equal inputs give equal seeds, neighbouring inputs give unrelated ones.

vLLM gives child i of a request the seed ``seed + i``, so neighbouring request seeds would make
completions of different prompts share their random numbers.
"""

from __future__ import annotations

import hashlib


def hashed_seed(*parts: int | str) -> int:
    """A seed in [0, 2^62) from any parts, e.g. run seed, step and slot."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2
