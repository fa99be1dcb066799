"""The endpoint writer against a real server on loopback that does all that servers do."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chat_server import KEY, VARIABLE, ChatServer, Response, chat, html, serving
from critique_parts import problem

from rlreason.config import TeacherSection
from rlreason.critique import endpoint
from rlreason.critique.endpoint import MAX_FAILED_IN_A_ROW, EndpointWriter
from rlreason.errors import ConfigError, TrainingStopped
from rlreason.types import TextReply, TextRequest

TRUE = r"It is \boxed{632}." "\nConclusion: wrong [END]"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving(lambda prompt, before: chat(TRUE)) as server:
        yield server


def teacher(server: ChatServer, **options: Any) -> EndpointWriter:
    settings: dict[str, Any] = {
        "name": "gpt",
        "endpoint": server.url,
        "model": "big",
        "key_from": VARIABLE,
        "max_attempts": 3,
        **options,
    }
    section = TeacherSection.model_validate(settings)
    return EndpointWriter(section, where="teachers.gpt", first_wait_s=0.001)


def requests(*prompts: str) -> list[TextRequest]:
    return [TextRequest(key=f"k-{p}", problem=problem(), prompt=p, seed=2**40) for p in prompts]


def replies_of(writer: EndpointWriter, *prompts: str) -> dict[str, TextReply]:
    replies = list(writer.write(requests(*prompts)))
    assert len({reply.key for reply in replies}) == len(replies)
    return {reply.key.removeprefix("k-"): reply for reply in replies}


def test_a_call_is_what_the_protocol_wants(server: ChatServer) -> None:
    price = {"prompt": 2.0, "completion": 10.0}
    prompt = {"system": "Be brief.", "shots": [["1+1?", "2"]]}
    body = {"top_p": 0.9, "seed": None}
    writer = teacher(server, price=price, prompt=prompt, body=body, max_tokens=55)
    reply = replies_of(writer, "a")["a"]
    assert (reply.text, reply.finish_reason, reply.attempts) == (TRUE, "stop", 1)
    assert (reply.prompt_tokens, reply.completion_tokens) == (7, 11)
    assert reply.cost == pytest.approx((7 * 2 + 11 * 10) / 1e6)
    [call] = server.calls
    headers = call.pop("headers")
    assert call == {
        "path": "/v1/chat/completions",
        "model": "big",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "a"},
        ],
        "temperature": 0.3,
        "max_tokens": 55,
        "top_p": 0.9,
    }
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Idempotency-Key"] == "k-a"


def test_a_server_without_keys_is_sent_none(server: ChatServer) -> None:
    replies_of(teacher(server, key_from=None), "a")
    assert "Authorization" not in server.calls[0]["headers"]


def truncated(body: str) -> str:
    return body[: len(body) // 2]


FAULTS: dict[str, Callable[[], Response]] = {
    "rate limit": lambda: Response(429, "slow down", {"Retry-After": "0"}),
    "rate limit without a hint": lambda: Response(429, "{}"),
    "server error": lambda: Response(500, "oops", {"Retry-After-Ms": "1"}),
    "overloaded": lambda: Response(529, ""),
    "truncated JSON": lambda: Response(200, truncated(chat(TRUE).body)),
    "HTML": html,
    "HTML error": lambda: html(502),
    "no choices": lambda: Response(200, '{"choices": []}'),
    "no message": lambda: Response(200, '{"choices": [{}]}'),
    "content of another kind": lambda: Response(
        200, '{"choices": [{"message": {"content": {"a": 1}}}]}'
    ),
    "JSON of another kind": lambda: Response(200, '"text"'),
    "error as success": lambda: Response(200, '{"error": {"message": "busy"}}'),
    "not gzip": lambda: Response(200, "plain", {"Content-Encoding": "gzip"}),
    "silence": lambda: Response(silent=True),
}


def patience(fault: str) -> float:
    """Seconds; short where nothing comes, long where busy cores may hold up what comes."""
    return 1.0 if fault == "silence" else 60.0


@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_heal_is_asked_again(fault: str) -> None:
    def script(prompt: str, before: int) -> Response:
        return FAULTS[fault]() if before == 0 else chat(TRUE)

    with serving(script) as server:
        reply = replies_of(teacher(server, timeout_s=patience(fault)), "a")["a"]
    assert (reply.text, reply.error, reply.attempts) == (TRUE, None, 2)


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"rate limit", "rate limit without a hint"}))
def test_what_does_not_heal_is_an_error_after_all_attempts(fault: str) -> None:
    def script(prompt: str, before: int) -> Response:
        return FAULTS[fault]() if prompt == "bad" else chat(TRUE)

    with serving(script) as server:
        writer = teacher(server, timeout_s=patience(fault), max_attempts=2)
        replies = replies_of(writer, "bad", "good")
        assert server.prompts == {"bad": 2, "good": 1}
    assert replies["good"].text == TRUE
    assert replies["bad"].error
    assert (replies["bad"].text, replies["bad"].attempts) == ("", 2)
    assert KEY not in repr(replies)


def test_a_request_that_is_refused_is_not_sent_twice() -> None:
    refused = Response(400, '{"error": {"message": "too long"}}')
    with serving(lambda prompt, before: refused if prompt == "bad" else chat(TRUE)) as server:
        replies = replies_of(teacher(server), "bad", "good")
        assert server.prompts == {"bad": 1, "good": 1}
    assert "too long" in str(replies["bad"].error)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (Response(401, f'{{"error": "key {KEY} is invalid"}}'), "refuses the key"),
        (Response(403, ""), "forbids"),
        (Response(404, "no model big"), "no such address or model"),
        (Response(307, "", {"Location": "http://127.0.0.1:1/v1"}), "final address"),
        (Response(429, '{"error": {"code": "insufficient_quota"}}'), "insufficient_quota"),
        (Response(503, "", {"Retry-After": "86400"}), "86400"),
    ],
)
def test_what_no_call_can_mend_ends_the_stage_at_once(response: Response, message: str) -> None:
    with serving(lambda prompt, before: response) as server:
        writer = teacher(server, concurrency=1)
        with pytest.raises(TrainingStopped, match=message) as caught:
            list(writer.write(requests(*"abcdef")))
        assert len(server.calls) == 1
    assert "teachers.gpt" in str(caught.value)
    assert KEY not in str(caught.value)


def test_replies_under_way_are_not_lost_when_the_endpoint_gives_up() -> None:
    def script(prompt: str, before: int) -> Response:
        return Response(402, "") if prompt == "c" else chat(TRUE)

    with serving(script) as server:
        got: list[TextReply] = []
        with pytest.raises(TrainingStopped, match="paid"):
            got.extend(teacher(server, concurrency=1).write(requests("a", "b", "c", "d")))
        # extend() keeps what came before the error only if it was yielded before.
        assert server.prompts == {"a": 1, "b": 1, "c": 1}
    with serving(script) as server:
        seen = []
        try:
            for reply in teacher(server, concurrency=3).write(requests("c", "a", "b")):
                seen.append(reply.key)
        except TrainingStopped:
            pass
        assert len(seen) == sum(server.prompts[prompt] for prompt in "ab")


def test_a_dead_endpoint_is_noticed_before_every_text_failed() -> None:
    with serving(lambda prompt, before: Response(500, "down")) as server:
        writer = teacher(server, concurrency=4, max_attempts=1)
        prompts = [str(number) for number in range(10 * MAX_FAILED_IN_A_ROW)]
        with pytest.raises(TrainingStopped, match="in a row failed"):
            list(writer.write(requests(*prompts)))
        assert len(server.calls) < 2 * MAX_FAILED_IN_A_ROW


def test_failures_between_successes_are_no_dead_endpoint() -> None:
    def script(prompt: str, before: int) -> Response:
        return chat(TRUE) if int(prompt) % 10 == 0 else Response(400, "no")

    with serving(script) as server:
        writer = teacher(server, concurrency=1)
        replies = replies_of(writer, *map(str, range(3 * MAX_FAILED_IN_A_ROW)))
    assert sum(reply.error is not None for reply in replies.values()) > MAX_FAILED_IN_A_ROW


def test_a_key_that_comes_back_in_disguise_is_hidden_all_the_same() -> None:
    disguised = "".join(f"\\u{ord(char):04x}" for char in KEY)
    response = chat("KEY [END]")
    response = response._replace(body=response.body.replace("KEY", disguised))
    with serving(lambda prompt, before: response) as server:
        reply = replies_of(teacher(server), "a")["a"]
    assert reply.text == "[hidden] [END]"


def test_no_server_at_all_is_an_error_of_each_text() -> None:
    with serving(lambda prompt, before: chat(TRUE)) as server:
        pass
    replies = replies_of(teacher(server), "a")
    assert "ConnectError" in str(replies["a"].error)


def test_a_rate_limit_does_not_use_up_attempts_but_is_not_met_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def script(prompt: str, before: int) -> Response:
        limited = Response(429, "slow down", {"Retry-After-Ms": "0"})
        return limited if before < 6 or prompt == "bad" else chat(TRUE)

    monkeypatch.setattr(endpoint, "MAX_LIMITED", 9)
    with serving(script) as server:
        replies = replies_of(teacher(server, max_attempts=1), "good", "bad")
        assert server.prompts == {"good": 7, "bad": 9}
    assert (replies["good"].text, replies["good"].attempts) == (TRUE, 7)
    assert "HTTP 429" in str(replies["bad"].error)


def test_a_limit_holds_the_calls_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[float] = []
    monkeypatch.setattr(endpoint.Gate, "close_for", lambda gate, seconds: closed.append(seconds))
    used_up = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7s"}
    first = Response(429, "", {"Retry-After": "3"})
    with serving(lambda prompt, before: chat(TRUE, **used_up) if before else first) as server:
        replies_of(teacher(server), "a")
    assert closed == [3.0, 7.0]


def test_an_endless_response_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_RESPONSE_BYTES", 1000)
    with serving(lambda prompt, before: chat("x" * 2000)) as server:
        reply = replies_of(teacher(server), "a")["a"]
        assert len(server.calls) == 1
    assert "more than 1000 bytes" in str(reply.error)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert replies_of(teacher(server), "a")["a"].text == TRUE


def test_never_more_calls_at_once_than_asked_for(server: ChatServer) -> None:
    replies = replies_of(teacher(server, concurrency=2), *map(str, range(30)))
    assert len(replies) == 30
    assert server.most_at_once <= 2


def test_thinking_that_used_up_all_tokens_is_an_empty_text_not_a_fault() -> None:
    with serving(lambda prompt, before: chat(None, "length")) as server:
        reply = replies_of(teacher(server), "a")["a"]
        assert len(server.calls) == 1  # it was paid for, and would end the same way
    assert (reply.text, reply.finish_reason, reply.error) == ("", "length", None)


def test_a_key_is_asked_for_by_the_name_of_its_variable(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigError, match=f"teachers.gpt.key_from.*{VARIABLE}"):
        teacher(server).check()
    monkeypatch.setenv(VARIABLE, "two words\u00e9")
    with pytest.raises(ConfigError, match="one word") as caught:
        teacher(server).check()
    assert "two words" not in str(caught.value)
