"""A generator or teacher behind an HTTP endpoint that speaks the OpenAI protocol.

Many calls at once, each with its own retries; a limit that the endpoint states holds all of them.
The key is taken from the environment for the header of a call and goes nowhere else: should the
endpoint send it back, it is hidden before anybody sees the text.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import httpx

from rlreason.config import WriterSection
from rlreason.critique.chat_protocol import Answer, Fault, cost_of, read_response, request_body
from rlreason.critique.endpoint_check import check_reach
from rlreason.critique.rate_limits import Gate, asked_wait, backoff, exhausted_wait
from rlreason.errors import ConfigError, TrainingStopped
from rlreason.redact import HIDDEN, redact_text
from rlreason.types import TextReply, TextRequest

MAX_RESPONSE_BYTES = 32 * 2**20
"""A larger response is no answer."""
MAX_LIMITED = 50
"""How often one request may meet a rate limit, beside its attempts."""
MAX_WAIT_S = 900.0
"""An endpoint that wants a longer pause ends the stage, which is continued later."""
MAX_FAILED_IN_A_ROW = 20
"""So many texts in a row without one success end the stage: something is wrong with all."""
_LEAST_SECRET = 8
"""Shorter keys are no secrets but words such as "none", which texts may well hold."""


class EndpointWriter:
    """Keeps ``protocols.Writer``.

    Args:
        section: Its part of the recipe.
        where: That part's dotted path, for messages ("critiques.teachers.gpt").
        first_wait_s: Wait after a first failure; later ones double it.
    """

    def __init__(self, section: WriterSection, *, where: str, first_wait_s: float = 1.0) -> None:
        self._section, self._where, self._first_wait_s = section, where, first_wait_s
        self._random = random.Random(section.name)  # spreads calls; no text depends on it

    def check(self) -> None:
        """Refuse a missing key.

        Raises:
            ConfigError: Naming the environment variable.
        """
        self._key()

    def reach(self) -> None:
        """Refuse an endpoint where nobody answers, or that turns the key down.

        Raises:
            ConfigError: Saying which, and what to do.
        """
        direct = _is_loopback(str(self._section.endpoint))
        check_reach(self._section, self._key(), where=self._where, direct=direct)

    def write(self, requests: Sequence[TextRequest]) -> Iterator[TextReply]:
        """Yield replies as they come in.

        Raises:
            TrainingStopped: If the endpoint cannot serve any request; not before all replies that
                were under way are yielded.
        """
        session = _Session(self._section, self._key(), self._first_wait_s, self._random)
        with asyncio.Runner() as runner:
            yield from session.replies(runner, requests)
        if session.hopeless is not None:
            raise TrainingStopped(
                f"{self._where}: {session.hopeless}; what was written is kept, and the same "
                "command asks for the rest"
            )

    def _key(self) -> str | None:
        name = self._section.key_from
        if name is None:
            return None
        key = os.environ.get(name, "").strip()
        if not key:
            raise ConfigError(
                f"{self._where}.key_from: the environment has no variable {name}; export it "
                "(the key never goes into a recipe), or leave key_from out for a server without "
                "keys"
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigError(
                f"{self._where}.key_from: what {name} holds cannot be sent in a header; a key is "
                "one word of plain characters"
            )
        return key


class _Session:
    """The calls of one ``write``."""

    def __init__(
        self, section: WriterSection, key: str | None, first_wait_s: float, chance: random.Random
    ) -> None:
        # Their lines for every call would drown the run's log, and show what endpoints send back.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._section, self._key, self._first_wait_s = section, key, first_wait_s
        self._chance = chance
        self._url = f"{str(section.endpoint).rstrip('/')}/chat/completions"
        self._failed_in_a_row = 0
        self._gate = Gate()
        self.hopeless: str | None = None
        """Why no further call is worth making."""

    def replies(
        self, runner: asyncio.Runner, requests: Sequence[TextRequest]
    ) -> Iterator[TextReply]:
        """Yield replies as they come in; nothing else happens while one is being stored."""
        tasks = runner.run(self._begin(requests))
        try:
            for _ in requests:
                result = runner.run(self._results.get())
                if isinstance(result, Exception):
                    raise result
                if result is not None:
                    yield result
                    # Stored, so its place is free for another call: a killed run loses, and
                    # pays twice, ``concurrency`` calls at most.
                    self._turn.release()
        finally:
            runner.run(self._end(tasks))

    async def _begin(self, requests: Sequence[TextRequest]) -> list[asyncio.Task[None]]:
        """Start a task for every request; ``concurrency`` of them call at the same time."""
        self._turn = asyncio.Semaphore(self._section.concurrency)
        self._results: asyncio.Queue[TextReply | Exception | None] = asyncio.Queue()
        self._client = httpx.AsyncClient(
            headers={} if self._key is None else {"Authorization": f"Bearer {self._key}"},
            timeout=None,  # a total limit is set around each call
            limits=httpx.Limits(max_connections=None),
            trust_env=not _is_loopback(self._url),  # no proxy leads to a server on this machine
        )
        return [asyncio.create_task(self._deliver(request)) for request in requests]

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Abandon what is under way and close the connections."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    async def _deliver(self, request: TextRequest) -> None:
        try:
            self._results.put_nowait(await self._reply(request))
        except Exception as error:  # raised again where the results are read
            self._results.put_nowait(error)

    async def _reply(self, request: TextRequest) -> TextReply | None:
        """The reply after as many calls as it takes; None if the session gave up before it."""
        attempts = failures = limited = 0
        while True:
            await self._turn.acquire()
            await self._gate.passed()
            if self.hopeless is not None:
                self._turn.release()
                return None
            attempts += 1
            result, headers, raw = await self._call(request)
            if isinstance(result, Answer):
                self._gate.close_for(exhausted_wait(headers))
                return self._success(request, result, attempts, raw)
            limited += result.kind == "limited"
            failures += result.kind != "limited"
            spent = failures >= self._section.max_attempts or limited >= MAX_LIMITED
            if result.kind == "failed" or (spent and result.kind != "hopeless"):
                return self._failure(request, result, attempts, raw)
            wait = self._wait(result, headers, failures + limited)
            self._turn.release()
            await asyncio.sleep(wait)

    async def _call(self, request: TextRequest) -> tuple[Answer | Fault, httpx.Headers, str | None]:
        """One call: what it gave, its headers and its body with the key hidden."""
        try:
            async with asyncio.timeout(self._section.timeout_s):
                status, headers, body = await self._exchange(request)
        except TimeoutError:
            reason = f"no complete response within {self._section.timeout_s:g} s"
            return Fault("again", reason), httpx.Headers(), None
        except httpx.RequestError as error:
            reason = self._safe(f"{type(error).__name__}: {error}")
            return Fault("again", reason), httpx.Headers(), None
        except (httpx.InvalidURL, httpx.StreamError) as error:
            reason = self._safe(f"{type(error).__name__}: {error}")
            return Fault("failed", reason), httpx.Headers(), None
        raw = self._without_key(body)
        result = read_response(status, raw)
        if isinstance(result, Fault):
            result = result._replace(reason=self._safe(result.reason))
        return result, headers, raw

    async def _exchange(self, request: TextRequest) -> tuple[int, httpx.Headers, str]:
        # Where the endpoint knows the header, a call repeated after a lost response costs nothing.
        headers = {"Idempotency-Key": request.key}
        body = request_body(self._section, request)
        received = bytearray()
        async with self._client.stream("POST", self._url, json=body, headers=headers) as response:
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > MAX_RESPONSE_BYTES:
                    raise httpx.StreamError(f"more than {MAX_RESPONSE_BYTES} bytes")
        return response.status_code, response.headers, received.decode("utf-8", "replace")

    def _wait(self, fault: Fault, headers: httpx.Headers, times: int) -> float:
        """How long this request waits. A rate limit holds the others back as well."""
        if fault.kind == "hopeless":
            self.hopeless = self.hopeless or fault.reason
            return 0.0
        own = backoff(times, first_s=self._first_wait_s, chance=self._chance.random())
        asked = asked_wait(headers, datetime.now(UTC))
        wanted = max(own if asked is None else asked, exhausted_wait(headers))
        if wanted > MAX_WAIT_S:
            self.hopeless = self.hopeless or (
                f"the endpoint asks for a pause of {wanted:.0f} s; start again then"
            )
            return 0.0
        if fault.kind != "limited":
            return wanted
        self._gate.close_for(wanted)
        return own if asked is not None else 0.0  # behind the gate, spread as the others are

    def _success(
        self, request: TextRequest, answer: Answer, attempts: int, raw: str | None
    ) -> TextReply:
        self._failed_in_a_row = 0
        return TextReply(
            key=request.key,
            text=self._without_key(answer.text),  # escapes may have hidden it in the body
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            cost=cost_of(answer, self._section.price),
            attempts=attempts,
            raw=raw,
        )

    def _failure(
        self, request: TextRequest, fault: Fault, attempts: int, raw: str | None
    ) -> TextReply:
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            self.hopeless = self.hopeless or (
                f"{self._failed_in_a_row} texts in a row failed, the last one: {fault.reason}"
            )
        return TextReply(
            key=request.key,
            text="",
            finish_reason="error",
            attempts=attempts,
            error=fault.reason,
            raw=raw,
        )

    def _without_key(self, text: str) -> str:
        if self._key is None or len(self._key) < _LEAST_SECRET:
            return text
        return text.replace(self._key, HIDDEN)

    def _safe(self, text: str) -> str:
        """For messages and logs: without the key, and without whatever looks like one."""
        return redact_text(self._without_key(text))


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    return host in ("localhost", "::1") or host.startswith("127.")
