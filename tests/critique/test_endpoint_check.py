"""What is found out about an endpoint before anything heavy starts."""

import json
import logging
from collections.abc import Iterator

import pytest
from chat_server import KEY, VARIABLE, ChatServer, Response, chat, html, serving

from rlreason.build_writers import named_writer
from rlreason.config import TeacherSection
from rlreason.errors import ConfigError


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # not asked for this machine


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving(lambda prompt, before: chat("?")) as server:
        yield server


def reach(url: str, *, key_from: str | None = VARIABLE) -> None:
    section = TeacherSection(name="gpt", endpoint=url, model="gpt-big", key_from=key_from)
    writer = named_writer(section, threads=1, where="teachers.gpt")
    assert writer.reach is not None
    writer.reach()


def models(*names: str) -> Response:
    return Response(body=json.dumps({"data": [{"id": name} for name in names]}))


def test_an_address_where_nobody_answers_is_refused(server: ChatServer) -> None:
    closed = "http://127.0.0.1:1/v1"
    with pytest.raises(ConfigError, match=r"teachers\.gpt\.endpoint = .*no server can be reached"):
        reach(closed)


@pytest.mark.parametrize(
    ("key_from", "remedy"), [(VARIABLE, f"correct what .* {VARIABLE} holds"), (None, "key_from")]
)
def test_a_key_that_is_turned_down_is_named_by_its_variable(
    server: ChatServer, key_from: str | None, remedy: str
) -> None:
    server.models = Response(401, f"no {KEY}")
    with pytest.raises(ConfigError, match=remedy) as caught:
        reach(server.url, key_from=key_from)
    assert KEY not in str(caught.value)
    [headers] = server.asked_for_models
    assert headers.get("Authorization") == (f"Bearer {KEY}" if key_from else None)


@pytest.mark.parametrize(
    "response",
    [Response(404), Response(403, "not for you"), Response(500), html(), Response(body="[1]"),
     models(), models("gpt-small", "gpt-big")],
)  # fmt: skip
def test_a_server_that_lists_nothing_else_is_taken_at_its_word(
    server: ChatServer, response: Response, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.models = response
    reach(server.url)
    assert len(server.asked_for_models) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert KEY not in caplog.text


def test_a_model_that_is_not_listed_is_warned_of(
    server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.models = models("gpt-bigger", "other")
    reach(server.url)
    assert "'gpt-big' is none of the 2 models" in caplog.text
    assert "did you mean 'gpt-bigger'?" in caplog.text
