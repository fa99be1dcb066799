"""Turns rows into Problems, and finds every row that is none before anything starts.

A source only maps its format onto the keys of a row; all judgement of content is here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rlreason.data.faults import BadRowError, FaultReport
from rlreason.protocols import ProblemSource
from rlreason.types import Message, Problem, Prompt

MAX_PROMPT_CHARS = 100_000
"""A longer prompt is a broken export, whatever the model's context."""
ROW_KEYS = frozenset({"prompt", "id", "answer", "metadata", "origin", "fault"})
ROLES = ("system", "developer", "user", "assistant")


def read_problems(
    source: ProblemSource,
    pool_name: str,
    *,
    needs_answer: bool,
    max_prompt_chars: int = MAX_PROMPT_CHARS,
) -> list[Problem]:
    """Read and check a whole pool. Up to 1 % of bad rows are skipped with a logged warning.

    Args:
        source: Where the rows come from.
        pool_name: Name of the pool in the recipe.
        needs_answer: Whether a row without an answer is bad: it is unless the pool's reward class
            says ``needs_answer = False``.
        max_prompt_chars: Longest prompt, in characters over all its messages.

    Raises:
        DataError: If more than 1 % of the rows are bad or none is good, quoting the first ones.
    """
    report = FaultReport(pool_name)
    problems: list[Problem] = []
    origin_of: dict[str, str] = {}
    num_rows = 0
    for num_rows, row in enumerate(source.read(), start=1):
        origin = _origin(row, num_rows)
        try:
            problem = _read_row(row, pool_name, needs_answer, max_prompt_chars)
            if problem.id in origin_of:
                raise _repeated(problem, row, origin_of[problem.id])
        except BadRowError as fault:
            report.add(origin, fault)
            continue
        origin_of[problem.id] = origin
        problems.append(problem)
    report.settle(num_rows)
    return problems


def content_id(prompt: Prompt) -> str:
    """The id of a row that brings none: 16 hex digits that depend on the prompt alone."""
    text = prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _origin(row: Any, number: int) -> str:
    origin = row.get("origin") if isinstance(row, Mapping) else None
    return origin if isinstance(origin, str) else f"row {number}"


def _read_row(row: Any, pool: str, needs_answer: bool, max_prompt_chars: int) -> Problem:
    if not isinstance(row, Mapping):
        raise BadRowError("wrong type", f"a row is a mapping, not {type(row).__name__}")
    if "fault" in row:
        raise BadRowError(*row["fault"])
    for key in row:
        if key not in ROW_KEYS:
            raise BadRowError("unknown key", f"{key!r:.60}; a row has prompt, id, answer, metadata")
    prompt = _read_prompt(row, max_prompt_chars)
    return Problem(
        id=_read_id(row, prompt),
        pool=pool,
        prompt=prompt,
        answer=_read_answer(row, needs_answer),
        metadata=_read_metadata(row),
    )


def _read_prompt(row: Mapping[str, Any], max_chars: int) -> Prompt:
    if "prompt" not in row:
        raise BadRowError("missing key", "no 'prompt'")
    prompt = row["prompt"]
    if prompt is None:
        raise BadRowError("null", "the prompt is null")
    if isinstance(prompt, str):
        _check_text(prompt, "prompt")
        num_chars = len(prompt)
    elif isinstance(prompt, (list, tuple)):
        prompt = tuple(_read_message(turn, index) for index, turn in enumerate(prompt))
        if not prompt or prompt[-1]["role"] != "user":
            raise BadRowError("malformed messages", "the last message must be the user's")
        num_chars = sum(len(message["content"]) for message in prompt)
    else:
        kind = type(prompt).__name__
        raise BadRowError("wrong type", f"the prompt is {kind}, not text or a list of messages")
    if num_chars > max_chars:
        raise BadRowError("prompt too long", f"{num_chars} characters, at most {max_chars}")
    return prompt


def _read_message(turn: Any, index: int) -> Message:
    where = f"message {index + 1}"
    if not isinstance(turn, Mapping):
        raise BadRowError("malformed messages", f"{where} is {type(turn).__name__}, not a mapping")
    # Arrow fills the keys that other messages of a file have with null.
    given = {key: value for key, value in turn.items() if value is not None}
    if set(given) != {"role", "content"}:
        keys = ", ".join(sorted(map(str, given))) or "nothing"
        raise BadRowError(
            "malformed messages", f"{where} has {keys:.80}; it needs role and content"
        )
    if given["role"] not in ROLES:
        known = ", ".join(ROLES)
        raise BadRowError(
            "malformed messages", f"{where}: role {given['role']!r:.40}; known: {known}"
        )
    if not isinstance(given["content"], str):
        kind = type(given["content"]).__name__
        raise BadRowError("malformed messages", f"{where}: content is {kind}, not text")
    _check_text(given["content"], where)
    return Message(role=given["role"], content=given["content"])


def _read_answer(row: Mapping[str, Any], needs_answer: bool) -> str | None:
    answer = row.get("answer")
    if isinstance(answer, int) and not isinstance(answer, bool):
        answer = str(answer)
    if answer is not None and not isinstance(answer, str):
        kind = type(answer).__name__
        raise BadRowError(
            "wrong type", f"the answer is {kind}, not text; write it as it should be read"
        )
    if answer is None or not answer.strip():
        if needs_answer:
            state = "it is missing" if "answer" not in row else f"it is {answer!r}"
            raise BadRowError("no answer", f"{state}, and the pool's reward compares with it")
        return None
    _check_text(answer, "answer")
    return answer


def _read_id(row: Mapping[str, Any], prompt: Prompt) -> str:
    given = row.get("id")
    if given is None:
        return content_id(prompt)
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    if not isinstance(given, str):
        raise BadRowError("wrong type", f"the id is {type(given).__name__}, not text or an integer")
    _check_text(given, "id")
    return given


def _read_metadata(row: Mapping[str, Any]) -> dict[str, Any]:
    metadata = row.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise BadRowError("bad metadata", f"it is {type(metadata).__name__}, not a mapping")
    try:
        # In the form that the journal gives back, so that a replayed step sees the same.
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRowError("bad metadata", f"not JSON: {error}"[:120]) from None
    plain: dict[str, Any] = json.loads(text)
    if not isinstance(plain.get("split_key", ""), str):
        raise BadRowError("bad metadata", f"split_key is {plain['split_key']!r:.40}, not text")
    return plain


def _check_text(text: str, what: str) -> None:
    if not text.strip():
        raise BadRowError(f"empty {what.split()[0]}", f"the {what} is {text!r:.20}")
    if "\0" in text:
        raise BadRowError("NUL character", f"in the {what}, at position {text.index(chr(0)) + 1}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        detail = f"in the {what}, at position {error.start + 1}"
        raise BadRowError("lone surrogate", detail) from None


def _repeated(problem: Problem, row: Mapping[str, Any], first: str) -> BadRowError:
    if row.get("id") is not None:
        return BadRowError("duplicate id", f"{problem.id!r:.60} is also the id of {first}")
    return BadRowError("duplicate prompt", f"the same as {first}; keep one, or give both an id")
