"""Decides which critiques are trained on: those that are true, in the numbers that are wanted.

The judge is a reward, ``rewards.critique:Critique`` unless the recipe says otherwise: it reads the
conclusion, compares it with the grade of the solution, and the boxed correction with the answer of
the problem. So the rule that filters is the rule that scores, in the same killable workers. Of
what passes, equal texts are taken once, right and wrong solutions brought to the wanted share, and
the longest and shortest critiques cut away in equal numbers until as many are left as wanted.

Every response comes out again, with the reason why it was dropped if it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlreason.critique.candidates import split_sizes
from rlreason.critique.records import Candidate, CritiqueExample, DropReason, TeacherResponse
from rlreason.errors import DataError, PluginError
from rlreason.protocols import Scorer
from rlreason.text_groups import text_group
from rlreason.types import Problem, Score

PARTS = ("format", "verdict", "correction")
"""Parts, each 0 or 1, that the judge's scores must have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelRow:
    """What became of the critiques of one generator's candidates by one teacher."""

    generator: str
    teacher: str
    responses: int
    kept: int
    dropped: Mapping[DropReason, int]
    """Reason -> number; with ``kept`` they add up to ``responses``."""
    verdicts: int
    """Critiques with a verdict that can be read."""
    true_verdicts: int
    """Of those, the ones that agree with the grade."""


def filter_critiques(
    candidates: Sequence[Candidate],
    responses: Sequence[TeacherResponse],
    *,
    judge: Scorer,
    wanted: int | None = None,
    right_share: float | None = None,
) -> list[CritiqueExample]:
    """Every response as an example, in their order; ``dropped`` says why one is left out.

    Args:
        candidates: All that the responses are about.
        responses: What the teachers wrote.
        judge: Scores a critique of the problem's ``metadata.candidate``; see ``PARTS``.
        wanted: How many to keep at most; None keeps all that are true.
        right_share: Share of kept critiques whose solution is right; None takes them as they come.

    Raises:
        DataError: If a response is about none of the candidates.
        PluginError: If the judge is not one of critiques.
    """
    by_id = {candidate.id: candidate for candidate in candidates}
    unknown = [r.candidate_id for r in responses if r.candidate_id not in by_id]
    if unknown:
        raise DataError(
            f"{len(unknown)} responses are about candidates that are not there, {unknown[0]} for "
            "one; candidates and critiques must be of one run"
        )
    pairs = [(by_id[response.candidate_id], response) for response in responses]
    examples = _judged(pairs, judge)
    examples = _without_repeats(examples)
    if right_share is not None:
        examples = _balanced(examples, right_share)
    return examples if wanted is None else _trimmed(examples, wanted, right_share)


def funnel(examples: Sequence[CritiqueExample]) -> list[FunnelRow]:
    """Kept and dropped, for each generator and teacher, sorted by their names."""
    pairs: dict[tuple[str, str], list[CritiqueExample]] = {}
    for example in examples:
        pairs.setdefault((example.generator, example.teacher), []).append(example)
    return [
        FunnelRow(
            generator=generator,
            teacher=teacher,
            responses=len(rows),
            kept=sum(row.dropped is None for row in rows),
            dropped=dict(Counter(row.dropped for row in rows if row.dropped is not None)),
            verdicts=sum(row.verdict is not None for row in rows),
            true_verdicts=sum(row.verdict == row.candidate_correct for row in rows),
        )
        for (generator, teacher), rows in sorted(pairs.items())
    ]


def _judged(
    pairs: Sequence[tuple[Candidate, TeacherResponse]], judge: Scorer
) -> list[CritiqueExample]:
    scored = judge.score(
        text_group(_question(candidate), response.text, slot)
        for slot, (candidate, response) in enumerate(pairs)
    )
    return [
        _example(candidate, response, score)
        for (candidate, response), (_, [score]) in zip(pairs, scored, strict=True)
    ]


def _question(candidate: Candidate) -> Problem:
    """The problem as the judge wants it: with the solution to be judged, and its grade."""
    metadata = {
        **candidate.problem.metadata,
        "candidate": candidate.solution,
        "candidate_correct": candidate.correct,
    }
    return replace(candidate.problem, metadata=metadata)


def _example(candidate: Candidate, response: TeacherResponse, score: Score) -> CritiqueExample:
    reason, verdict, corrected = _reading(candidate, response, score)
    return CritiqueExample(
        problem=candidate.problem,
        solution=candidate.solution,
        critique=response.text,
        verdict=verdict,
        corrected=corrected,
        candidate_correct=candidate.correct,
        generator=candidate.generator,
        teacher=response.teacher,
        candidate_id=candidate.id,
        response_id=response.id,
        dropped=reason,
    )


def _reading(
    candidate: Candidate, response: TeacherResponse, score: Score
) -> tuple[DropReason | None, bool | None, bool]:
    """Reason to drop, verdict, and whether the correction agrees."""
    if response.error is not None:
        return "error", None, False
    if response.finish_reason == "length":
        return "truncated", None, False  # a conclusion in it would be one by chance
    if score.outcome not in ("ok", "unparseable"):
        return "unjudged", None, False
    missing = [part for part in PARTS if part not in score.parts]
    if missing:
        raise PluginError(
            f"the judge of critiques gives no part {missing[0]!r}; it must give {PARTS} as "
            "rewards.critique:Critique does"
        )
    if not score.parts["format"]:
        return "no_verdict", None, False
    true, corrected = bool(score.parts["verdict"]), bool(score.parts["correction"])
    verdict = candidate.correct if true else not candidate.correct
    if not true:
        return "wrong_verdict", verdict, corrected
    return (None if corrected else "wrong_correction"), verdict, corrected


def _without_repeats(examples: Sequence[CritiqueExample]) -> list[CritiqueExample]:
    """The first of equal critiques of equal solutions stays."""
    seen: set[str] = set()
    result = []
    for example in examples:
        if example.dropped is None and example.id in seen:
            result.append(replace(example, dropped="duplicate"))
            continue
        if example.dropped is None:
            seen.add(example.id)
        result.append(example)
    return result


def _balanced(examples: Sequence[CritiqueExample], right_share: float) -> list[CritiqueExample]:
    """As many as the wanted share of right solutions allows; hashes decide which."""
    halves = _halves(examples)
    sizes = split_sizes(len(halves[0]), len(halves[1]), right_share, None)
    out: dict[str, DropReason] = {}
    for half, size in zip(halves, sizes, strict=True):
        by_hash = sorted(half, key=lambda example: example.id)
        out |= dict.fromkeys((example.response_id for example in by_hash[size:]), "balance")
    return _dropping(examples, out)


def _trimmed(
    examples: Sequence[CritiqueExample], wanted: int, right_share: float | None
) -> list[CritiqueExample]:
    """Without the longest and the shortest; each half by itself where a share is wanted."""
    right, wrong = _halves(examples)
    groups, sizes = [[*right, *wrong]], [wanted]
    if right_share is not None:
        groups = [right, wrong]
        sizes = list(split_sizes(len(right), len(wrong), right_share, wanted))
    out: dict[str, DropReason] = {}
    for group, size in zip(groups, sizes, strict=True):
        out |= _ends(group, len(group) - size)
    return _dropping(examples, out)


def _ends(group: Sequence[CritiqueExample], excess: int) -> dict[str, DropReason]:
    """Response id -> reason, for the ``excess`` critiques at both ends of the lengths."""
    if excess <= 0:
        return {}
    ordered = sorted(group, key=lambda example: (len(example.critique), example.id))
    short = excess // 2
    long = excess - short
    result: dict[str, DropReason] = {e.response_id: "too_short" for e in ordered[:short]}
    return result | {e.response_id: "too_long" for e in ordered[len(ordered) - long :]}


def _halves(
    examples: Sequence[CritiqueExample],
) -> tuple[list[CritiqueExample], list[CritiqueExample]]:
    """The kept examples: of right and of wrong solutions."""
    kept = [example for example in examples if example.dropped is None]
    return [e for e in kept if e.candidate_correct], [e for e in kept if not e.candidate_correct]


def _dropping(
    examples: Sequence[CritiqueExample], reasons: Mapping[str, DropReason]
) -> list[CritiqueExample]:
    return [
        replace(example, dropped=reasons[example.response_id])
        if example.dropped is None and example.response_id in reasons
        else example
        for example in examples
    ]
