"""A local server that speaks the OpenAI chat protocol as well, or as badly, as a test asks."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple

KEY = "planted-credential-0123456789abcdef"
VARIABLE = "RLREASON_TEST_TEACHER"
"""Where tests put KEY; not the name of a secret, so that nothing but our own care hides it."""


class Response(NamedTuple):
    """What the server sends."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    silent: bool = False
    """Send nothing at all until the server closes."""


Script = Callable[[str, int], Response]
"""Prompt and how many calls with it came before -> the response."""


class ChatServer:
    """What was asked, and where to ask."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls: list[dict[str, Any]] = []
        """Bodies of all calls, with ``headers`` added."""
        self.models = Response(404)
        """What it says when asked for its models, as many servers do."""
        self.asked_for_models: list[dict[str, str]] = []
        """Headers of those calls."""
        self.most_at_once = 0
        self.url = ""
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.at_once = 0

    @property
    def prompts(self) -> Counter[str]:
        """Prompt -> number of calls with it."""
        return Counter(call["messages"][-1]["content"] for call in self.calls)

    def answer(self, call: dict[str, Any]) -> Response:
        prompt = call["messages"][-1]["content"]
        with self.lock:
            before = self.prompts[prompt]
            self.calls.append(call)
        return self.script(prompt, before)


def chat(text: str | None, finish_reason: str = "stop", **headers: str) -> Response:
    """A well-formed response of 7 prompt tokens and 11 completion tokens."""
    message = {"role": "assistant", "content": text}
    body = {
        "id": "x",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18},
    }
    return Response(body=json.dumps(body), headers={"Content-Type": "application/json", **headers})


def html(status: int = 200) -> Response:
    """What a proxy in between likes to say, echoing what it got."""
    return Response(
        status, f"<html><body>Bad gateway; you sent Bearer {KEY}</body></html>", {"Via": "1.1 x"}
    )


@contextmanager
def serving(script: Script) -> Iterator[ChatServer]:
    """Run a server on loopback until the block ends."""
    server = ChatServer(script)
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    listener.daemon_threads = True
    server.url = f"http://127.0.0.1:{listener.server_address[1]}/v1"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        listener.shutdown()
        listener.server_close()
        thread.join()


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with server.lock:
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            length = int(self.headers["Content-Length"])
            call = json.loads(self.rfile.read(length))
            call["headers"] = dict(self.headers)
            call["path"] = self.path
            response = server.answer(call)
            if response.silent:
                server.closing.wait()
            with server.lock:
                server.at_once -= 1
            self.send(response)

        def do_GET(self) -> None:
            assert self.path == "/v1/models"
            server.asked_for_models.append(dict(self.headers))
            self.send(server.models)

        def send(self, response: Response) -> None:
            data = response.body.encode()
            try:
                self.send_response(response.status)
                for name, value in response.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # the client went away

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
