"""Reward functions as users of TRL write them."""

import asyncio
from functools import partial
from typing import Any


def same_as_label(
    prompts: Any, completions: Any, label: list[str], **kwargs: Any
) -> list[float | None]:
    return [float(text == wanted) for text, wanted in zip(completions, label, strict=True)]


async def patient(completions: Any, **kwargs: Any) -> list[float]:
    await asyncio.sleep(0)
    return [0.5 for _ in completions]


class Judge:
    """Async by its ``__call__``; bound to the event loop of its first call, as clients are."""

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, completions: Any, **kwargs: Any) -> list[float]:
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        return [self._scale * (loop is self._loop) for _ in completions]


def last_digit(completions: Any, modulus: int, **kwargs: Any) -> list[float]:
    return [int(text[-1]) % modulus for text in completions]


odd = partial(last_digit, modulus=2)


def undecided(completions: Any, log_metric: Any, log_extra: Any, **kwargs: Any) -> list[None]:
    log_metric("length", len(completions[0]))
    log_extra("text", completions)
    return [None for _ in completions]


def counts_tokens(completion_ids: list[list[int]], **kwargs: Any) -> list[float]:
    return [float(len(ids)) for ids in completion_ids]


def reads_roles(prompts: Any, completions: Any, **kwargs: Any) -> list[float]:
    (prompt,), (completion,) = prompts, completions
    roles = [message["role"] for message in (*prompt, *completion)]
    return [float(roles == ["user", "assistant"])]


def wants_a_trainer(completions: Any, trainer_state: Any, **kwargs: Any) -> list[float]:
    return [0.0]


def miscounts(completions: Any, **kwargs: Any) -> list[float]:
    return [0.0, 0.0]


def imports_much(completions: Any, **kwargs: Any) -> list[float]:
    raise ImportError("libmuch.so: failed to map segment from shared object")
