"""Asks an endpoint for its models before anything heavy starts: a wrong address costs seconds then.

Not every server answers ``GET /models``, and not every list is complete. So only what cannot be
right is refused: nobody at the address, or a key that is turned down.
"""

from __future__ import annotations

import difflib
import json
import logging
from typing import Any

import httpx

from rlreason.config import WriterSection
from rlreason.errors import ConfigError
from rlreason.redact import redact_text

PATIENCE_S = 10.0
MAX_LIST_BYTES = 8 * 2**20

logger = logging.getLogger(__name__)


def check_reach(section: WriterSection, key: str | None, *, where: str, direct: bool) -> None:
    """Refuse an endpoint that cannot be reached; warn of a model that it does not list.

    Args:
        section: The writer's part of the recipe.
        key: Goes into the header and nowhere else.
        where: That part's dotted path, for messages.
        direct: No proxy of the environment is asked.

    Raises:
        ConfigError: If no server answers at the address, or it turns the key down.
    """
    url = f"{str(section.endpoint).rstrip('/')}/models"
    try:
        status, body = _get(url, key, direct)
    except httpx.RequestError as error:
        reason = redact_text(f"{type(error).__name__}: {error}".rstrip(": "))
        if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
            logger.warning("%s.endpoint: no answer to GET %s (%s)", where, url, reason)
            return
        raise ConfigError(
            f"{where}.endpoint = {section.endpoint!r}: no server can be reached there ({reason}); "
            "start it, or correct the address"
        ) from None
    if status == 401:
        remedy = "name the environment variable of a key in key_from"
        if section.key_from is not None:
            remedy = f"correct what the environment variable {section.key_from} holds"
        raise ConfigError(f"{where}.endpoint: it answers 401, no valid key; {remedy}")
    listed = _listed(body) if status == 200 else []
    if listed and section.model not in listed:
        close = difflib.get_close_matches(str(section.model), listed, n=1)
        logger.warning(
            "%s.model = %r is none of the %d models that the endpoint lists%s",
            where,
            section.model,
            len(listed),
            f"; did you mean {close[0]!r}?" if close else "",
        )


def _get(url: str, key: str | None, direct: bool) -> tuple[int, bytes]:
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they show addresses and headers
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    received = bytearray()
    with (
        httpx.Client(headers=headers, timeout=PATIENCE_S, trust_env=not direct) as client,
        client.stream("GET", url) as response,
    ):
        for chunk in response.iter_bytes():
            received += chunk
            if len(received) > MAX_LIST_BYTES:
                return response.status_code, b""
        return response.status_code, bytes(received)


def _listed(body: bytes) -> list[str]:
    try:
        answer: Any = json.loads(body)
        return [model["id"] for model in answer["data"] if isinstance(model["id"], str)]
    except (ValueError, KeyError, TypeError):
        return []
