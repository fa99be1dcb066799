"""Keeps secrets out of what leaves the run folder, and foreign text harmless where it is shown.

``redact`` hides configuration values by the name of their key, ``redact_text`` hides tokens by
their shape and the values of secret environment variables, ``visible`` spells out control and
bidirectional characters so that model text can neither drive a terminal nor disguise itself.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "[hidden]"

_SECRET_WORDS = frozenset(
    {"key", "apikey", "token", "secret", "password", "passwd", "passphrase", "credential", "auth"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TOKEN_SHAPES = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}"  # Hugging Face
    r"|\bwandb_v\d_[A-Za-z0-9_]{20,}|(?<![0-9a-zA-Z])[0-9a-f]{40}(?![0-9a-zA-Z])"  # wandb
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|(?<=Bearer )[A-Za-z0-9._~+/-]{8,}=*"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user:password in an address
)


def is_secret_name(name: str) -> bool:
    """Whether a key names a secret: ``api_key`` and ``hubToken`` do, ``max_tokens`` does not."""
    return not _SECRET_WORDS.isdisjoint(word.lower() for word in _WORD.findall(name))


def redact(value: Any, name: str = "") -> Any:
    """A copy of nested configuration with every secret replaced by ``[hidden]``."""
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if is_secret_name(name) and value is not None and not isinstance(value, bool):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Sequence):
        return [redact(item, name) for item in value]
    return value


def redact_text(text: str) -> str:
    """``text`` without tokens of a known shape and without this environment's secrets."""
    for name, secret in os.environ.items():
        # A short value would hide ordinary words; no real credential is that short.
        if len(secret) >= 8 and is_secret_name(name):
            text = text.replace(secret, HIDDEN)
    return _TOKEN_SHAPES.sub(HIDDEN, text)


def visible(text: str, *, keep: str = "\n") -> str:
    """``text`` with control, format and line-separator characters spelled as escapes.

    Args:
        text: Anything, usually a completion.
        keep: Characters that stay as they are.
    """
    return "".join(
        _escaped(char) if char not in keep and _is_hidden(char) else char for char in text
    )


def _is_hidden(char: str) -> bool:
    # Cc control, Cf format (bidi overrides, zero width), Cs lone surrogates, Zl and Zp separators.
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
