"""The OpenAI chat protocol: what is sent for a request, and what can be read from a response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from rlreason.config import PriceSection, WriterSection
from rlreason.types import Message, TextRequest

Kind = Literal["again", "limited", "failed", "hopeless"]
"""``again``: another call may succeed. ``limited``: it will, later. ``failed``: this request never
will. ``hopeless``: no request will."""

_SHOWN_CHARS = 200
_HOPELESS = {
    401: "the endpoint refuses the key",
    402: "the endpoint wants to be paid first",
    403: "the endpoint forbids the call",
    404: "the endpoint has no such address or model",
}
_AGAIN = frozenset({408, 409, 425})


class Answer(NamedTuple):
    """What a response holds."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


class Fault(NamedTuple):
    """Why a response holds no answer."""

    kind: Kind
    reason: str


def request_body(section: WriterSection, request: TextRequest) -> dict[str, Any]:
    """The JSON of a call. A null in the recipe's ``body`` takes a field out."""
    body = {
        "model": section.model,
        "messages": _messages(section, request),
        "temperature": section.temperature,
        "max_tokens": section.max_tokens,
        "seed": request.seed & 0x7FFFFFFF,  # some servers take no more than 31 bits
        **section.body,
    }
    return {name: value for name, value in body.items() if value is not None}


def read_response(status: int, body: str) -> Answer | Fault:
    """The answer in a response, or what its lack means for this request and for others."""
    if status != 200:
        return _refusal(status, body)
    try:
        return _answer(json.loads(body))
    except (ValueError, RecursionError) as error:
        return Fault("again", f"a response that is no JSON ({error}): {_shown(body)}")
    except (KeyError, IndexError, TypeError):
        return Fault("again", f"a response without a message: {_shown(body)}")


def cost_of(answer: Answer, price: PriceSection | None) -> float | None:
    """Price of the tokens; None where prices or tokens are not known."""
    if price is None or answer.prompt_tokens is None or answer.completion_tokens is None:
        return None
    total = answer.prompt_tokens * price.prompt + answer.completion_tokens * price.completion
    return total / 1e6


def _messages(section: WriterSection, request: TextRequest) -> list[Message]:
    turns: list[Message] = []
    if section.prompt.system is not None:
        turns.append(Message(role="system", content=section.prompt.system))
    for question, answer in section.prompt.shots:
        turns.append(Message(role="user", content=question))
        turns.append(Message(role="assistant", content=answer))
    if isinstance(request.prompt, str):
        return [*turns, Message(role="user", content=request.prompt)]
    return [*turns, *request.prompt]


def _answer(data: Any) -> Answer:
    choice = data["choices"][0]
    usage = data.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    return Answer(
        text=_content(choice["message"]),
        finish_reason=str(choice.get("finish_reason") or "unknown"),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _content(message: Mapping[str, Any]) -> str:
    """The text of a message. None is what is left when thinking used up all tokens."""
    content = message["content"]
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    if content is not None and not isinstance(content, str):
        raise TypeError(type(content))
    return content or ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _refusal(status: int, body: str) -> Fault:
    reason = f"HTTP {status}: {_shown(body)}"
    if status == 429:
        # The same status for "too fast" and for "no money left", which no waiting mends.
        return Fault("hopeless" if "insufficient_quota" in body else "limited", reason)
    if status in _HOPELESS:
        return Fault("hopeless", f"{_HOPELESS[status]} ({reason})")
    if 300 <= status < 400:
        return Fault("hopeless", f"the endpoint is elsewhere; write its final address ({reason})")
    return Fault("again" if status in _AGAIN or status >= 500 else "failed", reason)


def _shown(body: str) -> str:
    text = " ".join(body.split())
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}...")
