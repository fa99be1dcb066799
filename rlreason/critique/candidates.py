"""Candidates: generators write solutions to the seed problems, and the reward grades them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlreason.critique.prompts import Template, render
from rlreason.critique.records import Candidate, stable_hash
from rlreason.critique.replies import NamedWriter, Writing, write_texts
from rlreason.critique.seeds import is_right
from rlreason.errors import DataError
from rlreason.protocols import Scorer
from rlreason.text_groups import text_group
from rlreason.types import Problem, TextReply, TextRequest

STAGE = "candidates"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorCount:
    """What became of one generator's requests."""

    generator: str
    asked: int
    failed: int
    """No text came."""
    unjudged: int
    """The scorer, not the solution, failed."""
    right: int
    wrong: int
    truncated: int
    """Of right and wrong: cut at the token limit."""
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSet:
    """Graded candidates, in the order of problems, generators and samples, and their shares."""

    candidates: tuple[Candidate, ...]
    counts: tuple[GeneratorCount, ...]


def make_candidates(
    problems: Sequence[Problem],
    generators: Sequence[NamedWriter],
    *,
    samples: int,
    template: Template,
    writing: Writing,
    scorer: Scorer,
    bounds: Mapping[str, tuple[float, float]],
) -> CandidateSet:
    """``samples`` graded solutions of every generator to every problem.

    Args:
        problems: The seed problems.
        generators: Who writes; one after another, each started only if something is missing.
        samples: Solutions per problem, where a generator does not say otherwise.
        template: Holds ``{problem}``.
        writing: Where replies are kept, and when to give up.
        scorer: Grades the solutions.
        bounds: Pool -> lowest and highest value of its reward.

    Raises:
        TrainingStopped: If too many texts of a generator fail.
        DataError: If no candidate is left.
    """
    candidates: list[Candidate] = []
    counts: list[GeneratorCount] = []
    for generator in generators:
        requests = list(_requests(problems, generator, samples, template, writing.seed))
        replies = write_texts(requests, generator, writing, stage=STAGE)
        graded = _graded(requests, replies, generator.name, scorer, bounds)
        counts.append(_count(generator.name, replies, graded))
        candidates += graded
    if not candidates:
        raise DataError("no generator wrote a candidate that could be graded; see the log")
    return CandidateSet(candidates=tuple(candidates), counts=tuple(counts))


def balance(
    candidates: Sequence[Candidate], *, right_share: float | None, limit: int | None
) -> list[Candidate]:
    """The largest choice of candidates with ``right_share`` right ones in each problem.

    Which of them go is decided by their ids, so that generators keep their shares on average.

    Args:
        candidates: Graded candidates.
        right_share: Wanted share of right ones; None keeps them as they come.
        limit: At most so many per problem; None: no limit.

    Raises:
        DataError: If a problem has none of the kind that is wanted.
    """
    by_problem: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_problem.setdefault(candidate.problem.key, []).append(candidate)
    kept: set[str] = set()
    for key, group in by_problem.items():
        kept |= {candidate.id for candidate in _balanced(key, group, right_share, limit)}
    return [candidate for candidate in candidates if candidate.id in kept]


def split_sizes(
    right: int, wrong: int, right_share: float | None, limit: int | None
) -> tuple[int, int]:
    """How many right and wrong ones to keep: the most that there are in the wanted proportion."""
    most = float(right + wrong)
    if right_share is not None and right_share > 0:
        most = min(most, right / right_share)
    if right_share is not None and right_share < 1:
        most = min(most, wrong / (1 - right_share))
    total = int(most + 1e-9) if limit is None else min(int(most + 1e-9), limit)
    share = right_share if right_share is not None else right / max(1, right + wrong)
    keep_right = min(right, round(total * share))
    return keep_right, min(wrong, total - keep_right)


def _balanced(
    key: str, group: Sequence[Candidate], right_share: float | None, limit: int | None
) -> list[Candidate]:
    halves = [
        sorted((c for c in group if c.correct == correct), key=lambda c: c.id)
        for correct in (True, False)
    ]
    sizes = split_sizes(len(halves[0]), len(halves[1]), right_share, limit)
    if sum(sizes) == 0:
        raise DataError(
            f"problem {key}: {len(halves[0])} right and {len(halves[1])} wrong candidates cannot "
            f"give a share of {right_share} right ones; take another seed problem or generator, "
            "or leave the share open"
        )
    return [c for half, size in zip(halves, sizes, strict=True) for c in half[:size]]


def _requests(
    problems: Sequence[Problem],
    generator: NamedWriter,
    samples: int,
    template: Template,
    seed: int,
) -> Iterator[TextRequest]:
    for problem in problems:
        prompt = render(template, problem)
        for sample in range(generator.samples or samples):
            key = stable_hash(generator.identity, problem.key, prompt, sample, seed)
            yield TextRequest(
                key=key, problem=problem, prompt=prompt, sample=sample, seed=int(key, 16) >> 2
            )


def _graded(
    requests: Sequence[TextRequest],
    replies: Sequence[TextReply],
    generator: str,
    scorer: Scorer,
    bounds: Mapping[str, tuple[float, float]],
) -> list[Candidate]:
    pairs = [
        (request, reply)
        for request, reply in zip(requests, replies, strict=True)
        if reply.error is None
    ]
    scored = scorer.score(
        text_group(request.problem, reply.text, slot) for slot, (request, reply) in enumerate(pairs)
    )
    return [
        Candidate(
            problem=request.problem,
            generator=generator,
            sample=request.sample,
            solution=reply.text,
            finish_reason=reply.finish_reason,
            score=score.value,
            correct=is_right(score, bounds[request.problem.pool]),
        )
        for (request, reply), (_, [score]) in zip(pairs, scored, strict=True)
        if score.outcome != "infra"
    ]


def _count(
    generator: str, replies: Sequence[TextReply], graded: Sequence[Candidate]
) -> GeneratorCount:
    failed = sum(reply.error is not None for reply in replies)
    right = Counter(candidate.correct for candidate in graded)
    costs = [reply.cost for reply in replies if reply.cost is not None]
    return GeneratorCount(
        generator=generator,
        asked=len(replies),
        failed=failed,
        unjudged=len(replies) - failed - len(graded),
        right=right[True],
        wrong=right[False],
        truncated=sum(candidate.finish_reason == "length" for candidate in graded),
        prompt_tokens=sum(reply.prompt_tokens or 0 for reply in replies),
        completion_tokens=sum(reply.completion_tokens or 0 for reply in replies),
        cost=sum(costs) if costs else None,
    )
