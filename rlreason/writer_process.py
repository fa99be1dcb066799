"""The process of a local writer: reads requests, samples with vLLM, writes replies, leaves.

Started by ``critique/local_process.py``. Its parent keeps the other end of its input open for as
long as it lives, so that a killed parent leaves no engine behind.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from rlreason.build_writers import LocalModel, load_local, prompt_tokens, text_limit
from rlreason.config import (
    ClusterSection,
    EvaluationSection,
    ModelSection,
    RolloutSection,
    RunSection,
    WriterSection,
)
from rlreason.errors import RlreasonError
from rlreason.types import Problem, TextReply

_POOL = "texts"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What the engine wants to know of a configuration."""

    run: RunSection
    model: ModelSection
    rollout: RolloutSection
    evaluation: EvaluationSection


def main() -> None:
    """Serve the one line on standard input; replies go to the descriptor that is named."""
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as replies:
        wanted = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=_leave_with_parent, daemon=True).start()
        try:
            for reply in _write(wanted):
                _say(replies, asdict(reply))
        except RlreasonError as error:
            _say(replies, {"failure": str(error)})
    os._exit(0)  # the engine's own farewell takes seconds and says nothing


def _leave_with_parent() -> None:
    # Not through sys.stdin, whose lock an interpreter on its way out would wait for.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _say(replies: IO[str], message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _write(wanted: dict[str, Any]) -> Iterator[TextReply]:
    section = WriterSection.model_validate(wanted["section"])
    local = load_local(section, where=section.name)
    problems, longest = [], 0
    for request in wanted["requests"]:
        problem = Problem(id=request["key"], pool=_POOL, prompt=_prompt(request["prompt"]))
        length = prompt_tokens(local, problem)
        if isinstance(length, str):
            yield TextReply(key=problem.id, text="", finish_reason="error", error=length)
            continue
        problems.append(problem)
        longest = max(longest, length)
    if problems:
        yield from _sample(section, local, problems, longest, wanted["threads"])


def _sample(
    section: WriterSection,
    local: LocalModel,
    problems: Sequence[Problem],
    longest: int,
    threads: int,
) -> Iterator[TextReply]:
    max_len = text_limit(section, local, longest)
    from rlreason.cluster.inline import prepare_process

    setup = prepare_process(ClusterSection(threads=threads))
    from rlreason.rollout.vllm_engine import EngineStart, VllmEngine

    start = EngineStart(
        path=local.path,
        version=0,
        max_len=max_len,
        eos_ids=local.eos_ids,
        threads=setup.threads,
        seeded=setup.deterministic,
    )
    engine = VllmEngine(_settings(section, local.dtype), local.encoder, start)
    greedy = section.temperature == 0
    for group in engine.evaluate(problems, samples=1, greedy=greedy):
        [rollout] = group.rollouts
        yield TextReply(
            key=group.problem.id,
            text=rollout.completion,
            finish_reason=rollout.finish_reason,
            prompt_tokens=len(rollout.prompt_ids),
            completion_tokens=len(rollout.completion_ids),
        )


def _settings(section: WriterSection, dtype: Any) -> _Settings:
    return _Settings(
        run=RunSection(),
        model=ModelSection(path=str(section.model), dtype=dtype),
        rollout=RolloutSection(max_completion_tokens=section.max_tokens, vllm=section.vllm),
        evaluation=EvaluationSection(temperature=section.temperature or 1.0),
    )


def _prompt(value: Any) -> Any:
    return value if isinstance(value, str) else tuple(value)
