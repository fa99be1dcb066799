"""The teacher of an on-policy distillation: found and checked before anything is loaded.

The teacher judges the policy's own tokens one by one, so both must number them alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlreason.config import GrpoConfig
from rlreason.errors import ConfigError
from rlreason.models import resolve_model

FIELD = "algorithm.teacher"


def find_teacher(config: GrpoConfig, tokenizer: Any, max_len: int) -> Path | str | None:
    """Where the teacher is; None where the recipe names none.

    Args:
        config: Names it in ``algorithm.teacher``.
        tokenizer: The policy's.
        max_len: Longest sequence of the run, in tokens.

    Raises:
        ConfigError: If it is not there, has another vocabulary, or takes only shorter sequences.
    """
    name = config.algorithm.teacher
    if name is None:
        return None
    from transformers import AutoConfig, AutoTokenizer

    path = resolve_model(name, field=FIELD)
    try:
        other: Any = AutoTokenizer.from_pretrained(path)
        limit = getattr(AutoConfig.from_pretrained(path), "max_position_embeddings", None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{FIELD} = {name!r}: no model with a tokenizer: {error}") from error
    _refuse_other_tokens(name, tokenizer.get_vocab(), other.get_vocab())
    if limit is not None and limit < max_len:
        raise ConfigError(
            f"{FIELD} = {name!r}: it takes {limit} tokens, but this run's sequences have up to "
            f"{max_len}; lower rollout.max_completion_tokens, or take another teacher"
        )
    return path


def _refuse_other_tokens(name: str, mine: dict[str, int], theirs: dict[str, int]) -> None:
    different = sorted(
        token for token in mine.keys() | theirs.keys() if mine.get(token) != theirs.get(token)
    )
    if different:
        token = different[0]
        raise ConfigError(
            f"{FIELD} = {name!r}: its tokenizer is not the policy's: {len(different)} tokens have "
            f"other ids, {token!r} for one is {theirs.get(token, 'absent')} there and "
            f"{mine.get(token, 'absent')} here. A teacher judges the policy's own tokens; take one "
            "of the same model family"
        )
