"""Groups for texts that no engine of ours sampled, so that the reward workers score them too."""

from __future__ import annotations

import zlib

from rlreason.types import Problem, Rollout, RolloutGroup

_CHARACTERS_PER_TOKEN = 4


def text_group(problem: Problem, text: str, slot: int) -> RolloutGroup:
    """A group of one completion with stand-ins for its tokens."""
    ids = _token_ids(text)
    rollout = Rollout(
        prompt_ids=(0,),
        completion_ids=ids,
        completion=text,
        rollout_logprobs=(0.0,) * len(ids),
        finish_reason="stop",
        policy_version=0,
    )
    return RolloutGroup(problem=problem, slot=slot, rollouts=(rollout,))


def _token_ids(text: str) -> tuple[int, ...]:
    """About as many as a tokenizer makes, the same for the same text."""
    pieces = (
        text[start : start + _CHARACTERS_PER_TOKEN]
        for start in range(0, len(text), _CHARACTERS_PER_TOKEN)
    )
    ids = tuple(zlib.crc32(piece.encode("utf-8", "replace")) >> 1 for piece in pieces)
    return ids or (0,)
