"""The test of a reward: what right and wrong completions earn, and how it bears attacks.

An attack gets through when it earns more than halfway from the reward's floor to what the right
answer earns on the same problem. A reward that says ``needs_answer = False`` is not held to that:
it is tested for determinism, bounds, exceptions, time and memory alone.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlreason.config import ScoringSection
from rlreason.errors import DataError
from rlreason.plugins import build_plugin
from rlreason.reward_check import judgement, trial
from rlreason.reward_check.findings import FamilyResult, RewardReport
from rlreason.reward_check.probes import GOLD, Probe, attacks, gold_probe
from rlreason.reward_check.subjects import (
    FORMS,
    Form,
    Subject,
    built_in_problems,
    example_form,
    form_of,
    plain_ones,
    subjects,
)
from rlreason.reward_check.wrong_answers import wrong_answers
from rlreason.scoring import WorkerScorer
from rlreason.scoring_messages import Answer
from rlreason.scoring_worker import check_bounds
from rlreason.types import Problem

_SLOW_S = 1.0
"""A probe that took longer is not scored a second and third time."""


class _Right(NamedTuple):
    """What right completions look like and earn."""

    subjects: list[Subject]
    probes: list[Probe]
    answers: dict[int, Answer]
    form: str


def check_reward(
    path: str,
    options: dict[str, Any],
    *,
    problems: Sequence[Problem] | None = None,
    gold: str | None = None,
    limits: ScoringSection | None = None,
) -> RewardReport:
    """Test the reward that ``path`` names.

    Args:
        path: ``package.module:Class`` or ``path/to/file.py:Class``.
        options: Its options.
        problems: What to probe it with; without, built-in problems of the shapes that it accepts.
        gold: Form of a right completion, with ``{answer}`` in it; without, the reward's
            ``example``, else the first of some usual forms that scores best.
        limits: Time and memory of a completion.

    Raises:
        PluginError: If the reward does not load, here or in a worker.
        DataError: If it accepts none of the problems.
    """
    limits = (limits or ScoringSection()).model_copy(update={"workers": 1})
    reward = build_plugin(path, options, where="reward")
    bounds = check_bounds(reward, (path, options, "reward"))
    given = list(problems) if problems is not None else built_in_problems()
    pools = {problem.pool for problem in given}
    looks = getattr(reward, "needs_answer", None) is not False and not _of_groups(reward)
    with (
        trial.open_trial(path, options, pools, limits) as scorer,
        trial.open_trial(path, options, pools, limits) as second,
        tempfile.TemporaryDirectory(prefix="rlreason-canary-") as canaries,
    ):
        accepted, notes = _accepted(scorer, given, needs_wrong=looks, built_in=problems is None)
        right = _right(scorer, accepted, reward, gold)
        probes = [*right.probes, *attacks(right.subjects, Path(canaries))]
        passes = _passes(scorer, second, probes, len(right.probes), right.answers)
        judge = judgement.Judge(
            bounds=bounds, looks_at_answers=looks, has_example=_has_example(reward)
        )
        families = judge.families(probes, passes[0])
    checks = judgement.checks(probes, passes, limits)
    every = [answer for answers in passes for answer in answers.values()]
    return RewardReport(
        reward=path,
        bounds=bounds,
        problems=len(right.subjects),
        form=right.form,
        notes=(*notes, *_advice(reward, looks, families)),
        families=families,
        checks=checks,
        latency_s=judgement.latency(every),
        peak_mib=trial.peak_mib(every),
    )


def _of_groups(reward: Any) -> bool:
    return hasattr(reward, "score_group")


def _has_example(reward: Any) -> bool:
    return hasattr(reward, "example")


def _accepted(
    scorer: WorkerScorer, problems: list[Problem], *, needs_wrong: bool, built_in: bool
) -> tuple[list[Problem], list[str]]:
    """The problems of which the reward scores a harmless completion, and a word on the others."""
    probes = [
        Probe(family="", problem=problem, completion="...", wanted="low") for problem in problems
    ]
    answers = trial.run(scorer, probes, range(len(probes)))
    refused = {
        index: answer
        for index, answer in answers.items()
        if "fault" in answer or answer["outcome"] == "infra"
    }
    taken = [problem for index, problem in enumerate(problems) if index not in refused]
    first = next(iter(refused), None)
    reason = "" if first is None else f"{problems[first].key}: {refused[first].get('message')}"
    if not taken:
        raise DataError(f"the reward scores none of the {len(problems)} problems; {reason}")
    if built_in:
        return plain_ones(taken), []
    notes = [f"{len(refused)} problems were refused; {reason}"] if refused else []
    testable = [p for p in taken if not needs_wrong or wrong_answers(p.answer or "")]
    if not testable:
        raise DataError("none of the problems has an answer that wrong ones can be made from")
    if len(testable) < len(taken):
        notes.append(
            f"{len(taken) - len(testable)} problems have no answer to make wrong ones from"
        )
    return testable, notes


def _right(scorer: WorkerScorer, problems: list[Problem], reward: Any, gold: str | None) -> _Right:
    """The subjects in the form that earns most, and what they earn."""
    named: list[tuple[str, Form]]
    own = example_form(reward)
    if gold is not None:
        named = [(f"--gold {gold!r}", form_of(gold))]
    elif own is not None:
        named = [("the reward's own example", own)]
    else:
        named = [(f"taken to be {form!r}, which earns most", form_of(form)) for form in FORMS]
    tried = []
    for name, form in named:
        chosen = subjects(problems, form)
        probes = [gold_probe(subject) for subject in chosen]
        answers = trial.run(scorer, probes, range(len(probes)))
        tried.append(_Right(chosen, probes, answers, name))
    return max(tried, key=lambda right: sum(a.get("value", 0.0) for a in right.answers.values()))


def _passes(
    scorer: WorkerScorer,
    second: WorkerScorer,
    probes: Sequence[Probe],
    num_gold: int,
    gold: dict[int, Answer],
) -> list[dict[int, Answer]]:
    """In order; again in reverse; and shuffled in another worker."""
    first = gold | trial.run(scorer, probes, range(num_gold, len(probes)))
    again = [
        index
        for index in sorted(first, reverse=True)
        if first[index].get("outcome") not in ("timeout", "crash")
        and first[index].get("seconds", 0.0) < _SLOW_S
    ]
    reverse = trial.run(scorer, probes, again)
    random.Random(0).shuffle(again)
    return [first, reverse, trial.run(second, probes, again)]


def _advice(reward: Any, looks: bool, families: Sequence[FamilyResult]) -> list[str]:
    if not looks:
        return ["it does not compare answers, so no attack on answers is held against it"]
    failed = {family.family for family in families if not family.passed}
    advice = []
    if GOLD in failed and not _has_example(reward):
        advice.append("if right completions look otherwise, say how: --gold '... {answer} ...'")
    if failed and getattr(reward, "needs_answer", None) is None:
        advice.append("a reward that is not meant to look at answers says needs_answer = False")
    return advice
