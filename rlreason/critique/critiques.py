"""Critiques: every teacher says of every candidate whether it is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlreason.critique.prompts import Template, render
from rlreason.critique.records import Candidate, TeacherResponse, stable_hash
from rlreason.critique.replies import NamedWriter, Writing, write_texts
from rlreason.types import TextReply, TextRequest

STAGE = "critiques"


def collect_responses(
    candidates: Sequence[Candidate],
    teachers: Sequence[NamedWriter],
    *,
    template: Template,
    writing: Writing,
) -> list[TeacherResponse]:
    """What every teacher wrote about every candidate, in the order of teachers and candidates.

    Args:
        candidates: What is to be judged.
        teachers: Who judges; one after another, each started only if something is missing.
        template: Holds ``{problem}`` and ``{solution}``.
        writing: Where replies are kept, and when to give up.

    Raises:
        TrainingStopped: If too many texts of a teacher fail.
    """
    responses: list[TeacherResponse] = []
    for teacher in teachers:
        about, requests = [], []
        for candidate, request in _requests(candidates, teacher, template, writing.seed):
            about.append(candidate)
            requests.append(request)
        replies = write_texts(requests, teacher, writing, stage=STAGE)
        responses += [
            _response(candidate, teacher.name, request, reply)
            for candidate, request, reply in zip(about, requests, replies, strict=True)
        ]
    return responses


def _requests(
    candidates: Sequence[Candidate], teacher: NamedWriter, template: Template, seed: int
) -> Iterator[tuple[Candidate, TextRequest]]:
    for candidate in candidates:
        prompt = render(template, candidate.problem, candidate.solution)
        for sample in range(teacher.samples or 1):
            key = stable_hash(teacher.identity, candidate.id, prompt, sample, seed)
            yield (
                candidate,
                TextRequest(
                    key=key,
                    problem=candidate.problem,
                    prompt=prompt,
                    solution=candidate.solution,
                    sample=sample,
                    seed=int(key, 16) >> 2,
                ),
            )


def _response(
    candidate: Candidate, teacher: str, request: TextRequest, reply: TextReply
) -> TeacherResponse:
    return TeacherResponse(
        candidate_id=candidate.id,
        teacher=teacher,
        prompt_hash=stable_hash(request.prompt),
        sample=request.sample,
        text=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        cost=reply.cost,
        attempts=reply.attempts,
        error=reply.error,
    )
