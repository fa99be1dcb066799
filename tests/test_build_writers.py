"""Writers as a recipe names them: refused with one message before anything heavy, else started."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from critique_parts import SOLVE, problem
from pydantic import ValidationError

from rlreason.build_writers import check_generator, check_teacher, load_local, named_writer
from rlreason.config import TeacherSection, WriterSection
from rlreason.critique import local_process
from rlreason.errors import ConfigError, DataError, PluginError, TrainingStopped
from rlreason.models import resolve_model
from rlreason.types import Problem, TextReply, TextRequest

VARIABLE = "RLREASON_TEST_TEACHER"
TEACHER = "rlreason.data.arithmetic_teacher:ArithmeticTeacher"
URL = "http://127.0.0.1:1/v1"


def writer(kind: type[WriterSection] = WriterSection, **options: Any) -> WriterSection:
    return kind.model_validate({"name": "w", **options})


def refusal(section: WriterSection, asked: Sequence[Problem] = (problem(),)) -> str:
    def check() -> None:
        if isinstance(section, TeacherSection):
            check_teacher(section, asked, where="critiques.teachers.w")
        else:
            where = "candidates.generators.w"
            check_generator(section, asked, samples=2, template=SOLVE, where=where)

    with pytest.raises((ConfigError, DataError, PluginError)) as caught:
        check()
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "name one of model, endpoint (with model), file and use; given: none"),
        ({"model": "m", "use": "a:B"}, "given: model, use"),
        ({"endpoint": URL}, "endpoint needs model"),
        ({"endpoint": "localhost:8000", "model": "m"}, "must look like https://host/v1"),
        ({"endpoint": "https://user:pass@host/v1", "model": "m"}, "no user, password"),
        ({"endpoint": "https://host/v1?api_key=abcdef", "model": "m"}, "no user, password"),
        ({"endpoint": URL, "model": "m", "key_from": "sk-abcdef"}, "the key itself must not"),
        ({"model": "m", "name": "../x"}, "a name has"),
    ],
)
def test_a_section_that_is_no_writer_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        writer(**options)
    reasons = [error["msg"] for error in caught.value.errors()]
    assert any(message in reason for reason in reasons)
    assert not any(secret in str(reasons) for secret in ("sk-abcdef", "pass@", "api_key"))


def test_a_model_that_cannot_load_is_refused_by_its_field(tmp_path: Path) -> None:
    assert "candidates.generators.w.model = 'tiny-arithmetik'" in refusal(
        writer(model="tiny-arithmetik")
    )
    shutil.copy(Path(resolve_model("tiny-arithmetic")) / "config.json", tmp_path)
    assert "lacks any .safetensors file" in refusal(writer(model=str(tmp_path)))
    whole = (Path(resolve_model("tiny-arithmetic")) / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-1])
    assert "model.safetensors is damaged" in refusal(writer(model=str(tmp_path)))
    (tmp_path / "model.safetensors").write_bytes(whole)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "model.safetensors", "b": "part-2.safetensors"}}')
    assert "lacks part-2.safetensors" in refusal(writer(model=str(tmp_path)))
    index.unlink()
    message = refusal(writer(kind=TeacherSection, model=str(tmp_path)))
    assert message.startswith("critiques.teachers.w.model")
    assert "does not load" in message


def test_a_prompt_that_the_model_cannot_read_is_refused() -> None:
    asked = Problem(id="1", pool="add3", prompt="add 3\u00d74", answer="12")
    message = refusal(writer(model="tiny-arithmetic"), [asked])
    assert "candidates.generators.w: problem add3/1: the tokenizer cannot read" in message


def test_a_teacher_without_its_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    section = writer(kind=TeacherSection, endpoint=URL, model="m", key_from=VARIABLE)
    assert f"critiques.teachers.w.key_from: the environment has no variable {VARIABLE}" in refusal(
        section
    )
    monkeypatch.setenv(VARIABLE, "something")
    check_teacher(section, [problem()], where="w")  # no call is made


def test_a_file_is_no_teacher_and_must_hold_enough(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"problem_id": "347+285", "solution": "a"}\n', encoding="utf-8")
    assert "a file holds solutions" in refusal(writer(kind=TeacherSection, file=str(path)))
    assert "1 solutions to problem add3/347+285, but 2 are" in refusal(writer(file=str(path)))


def test_a_plug_in_is_loaded_and_may_refuse_a_problem() -> None:
    odd = Problem(id="1", pool="add3", prompt="How many?")
    message = refusal(writer(kind=TeacherSection, use=TEACHER), [problem(), odd])
    assert message.startswith("critiques.teachers.w: problem add3/1")
    assert "no write method" in refusal(writer(use="rewards.boxed_exact:BoxedExact"))
    assert "unknown option 'flawed'; did you mean" in refusal(
        writer(kind=TeacherSection, use={"use": TEACHER, "flawed": 1})
    )


def test_a_users_own_teacher_is_found_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from rlreason.types import TextReply\n"
        "class Mine:\n"
        "    def write(self, requests):\n"
        "        for request in requests:\n"
        "            yield TextReply(key=request.key, text=request.solution.upper())\n",
        encoding="utf-8",
    )
    section = writer(kind=TeacherSection, use=f"{path}:Mine")
    check_teacher(section, [problem()], where="w")
    named = named_writer(section, threads=1, where="w")
    request = TextRequest(key="k", problem=problem(), prompt="?", solution="abc")
    with named.start() as started:
        assert list(started.write([request])) == [TextReply(key="k", text="ABC")]
    path.write_text(path.read_text() + "# another one\n", encoding="utf-8")
    assert named_writer(section, threads=1, where="w").identity != named.identity


def test_texts_are_asked_for_again_only_when_they_would_differ() -> None:
    def identity(**options: Any) -> str:
        section = writer(endpoint=URL, model="m", **options)
        return named_writer(section, threads=1, where="w").identity

    same = [{"concurrency": 1}, {"price": {"prompt": 1}}, {"key_from": "KEY"}, {"timeout_s": 1}]
    other = [{"temperature": 0.5}, {"max_tokens": 7}, {"body": {"top_p": 1}}]
    assert {identity(**options) for options in [{}, *same]} == {identity()}
    assert len({identity(**options) for options in [{}, *other]}) == 4


REPLY = (
    "import json, os, sys; sys.stdin.readline(); out = os.fdopen(int(sys.argv[1]), 'w'); "
    "out.write(json.dumps({'key': 'k0', 'text': 'a TextReply'}) + '\\n'); out.flush()"
)
"""A program that replies to the first request."""


def requests(count: int, prompt: str = "add 347+285") -> list[TextRequest]:
    return [
        TextRequest(key=f"k{n}", problem=problem(), prompt=prompt, sample=n, seed=n)
        for n in range(count)
    ]


def collect(section: WriterSection, asked: list[TextRequest], got: list[TextReply]) -> None:
    with named_writer(section, threads=1, where="generators.w").start() as started:
        for reply in started.write(asked):
            got.append(reply)  # what came before an error counts


def test_a_local_model_writes_in_a_process_of_its_own() -> None:
    section = writer(model="tiny-arithmetic", max_tokens=48, temperature=1.2)
    unreadable = [TextRequest(key="odd", problem=problem(), prompt="add 3\u00d74")]
    assert load_local(section, where="w").dtype == "float32"
    got: list[TextReply] = []
    collect(section, [*requests(12, "add 3475+2856"), *unreadable], got)
    replies = {reply.key: reply for reply in got}
    assert len(got) == len(replies) == 13
    assert "cannot read the prompt" in str(replies.pop("odd").error)
    assert sorted(replies) == sorted(f"k{n}" for n in range(12))
    written = [reply.text for reply in replies.values()]
    assert len(set(written)) > 2  # a seed each
    assert any("\\boxed{" in text for text in written)
    for reply in replies.values():
        assert reply.prompt_tokens == 13  # <bos>, add, a space, nine characters, a newline
        assert reply.completion_tokens is not None
        assert (reply.finish_reason == "length") == (reply.completion_tokens == 48)


def test_texts_too_long_for_the_model_are_refused_before_the_engine_starts() -> None:
    section = writer(model="tiny-arithmetic", max_tokens=250)
    message = refusal(section)
    assert "max_tokens = 250: with the longest prompt of 11 tokens that is 261" in message
    assert "lower it to 245" in message


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; print('boom ' + 'x' * 9); sys.exit(3)", r"(?s)code 3; .*boom xxxxxxxxx"),
        ("import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)", "ended with code -9"),
        (f"{REPLY}; os._exit(4)", "ended with code 4"),
        (f"{REPLY}; out.write(json.dumps({{'failure': 'no memory'}})); out.flush()", "no memory"),
    ],
)
def test_a_writer_process_that_fails_is_named_with_its_last_words(
    program: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_process, "PROGRAM", program)
    got: list[TextReply] = []
    with pytest.raises(TrainingStopped, match=message) as caught:
        collect(writer(model="tiny-arithmetic"), requests(2), got)
    assert str(caught.value).startswith("generators.w: ")
    assert len(got) == (1 if "TextReply" in program else 0)


def test_leaving_early_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_process, "PROGRAM", f"{REPLY}; sys.stdin.read()")
    with named_writer(writer(model="m"), threads=1, where="w").start() as started:
        replies = started.write(requests(2))
        assert next(iter(replies)).key == "k0"
        replies.close()  # would wait for ever if the process were not ended
