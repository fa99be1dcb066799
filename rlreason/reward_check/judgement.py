"""Reads what came of the probes: which got through, and which rules the reward broke."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from rlreason.config import ScoringSection
from rlreason.reward_check import trial
from rlreason.reward_check.findings import CheckResult, FamilyResult, Finding, shortened
from rlreason.reward_check.probes import GOLD, Probe
from rlreason.scoring_messages import Answer

_KEPT_FINDINGS = 3
Answers = Mapping[int, Answer]
"""Index of a probe -> what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What the reward says of itself, and so what its scores are held to."""

    bounds: tuple[float, float]
    looks_at_answers: bool
    has_example: bool

    def families(self, probes: Sequence[Probe], answers: Answers) -> tuple[FamilyResult, ...]:
        """One result for each family, in the order of the probes."""
        right = {
            probe.problem.key: self._value(answers[index])
            for index, probe in enumerate(probes)
            if probe.family == GOLD
        }
        indices = range(len(probes))
        return tuple(
            self._family(probes, answers, list(members), right)
            for _, members in groupby(indices, key=lambda index: probes[index].family)
        )

    def _family(
        self,
        probes: Sequence[Probe],
        answers: Answers,
        members: Sequence[int],
        right: Mapping[str, float],
    ) -> FamilyResult:
        failed = [i for i in members if self._fails(probes[i], answers[i], right)]
        probe = probes[members[0]]
        return FamilyResult(
            family=probe.family,
            wanted=probe.wanted if self._judged(probe) else "any",
            probes=len(members),
            failed=len(failed),
            slowest_s=max(answers[i].get("seconds", 0.0) for i in members),
            findings=tuple(
                _finding(probes[i], answers[i], self._value(answers[i]))
                for i in failed[:_KEPT_FINDINGS]
            ),
        )

    def _judged(self, probe: Probe) -> bool:
        return self.looks_at_answers or (probe.wanted == "high" and self.has_example)

    def _fails(self, probe: Probe, answer: Answer, right: Mapping[str, float]) -> bool:
        if _executed(probe):
            return True
        if not self._judged(probe):
            return False
        floor, highest = self.bounds
        value = self._value(answer)
        if probe.wanted == "high":
            return value < highest if self.has_example else value <= (floor + highest) / 2
        earned = right[probe.problem.key]
        return value > (floor + (earned if earned > floor else highest)) / 2

    def _value(self, answer: Answer) -> float:
        return answer.get("value", self.bounds[0])


def _executed(probe: Probe) -> bool:
    return probe.canary is not None and probe.canary.exists()


def _finding(probe: Probe, answer: Answer, value: float) -> Finding:
    earned = f"{value:g}"
    if answer.get("outcome", "ok") != "ok":
        earned += f" ({answer['outcome']})"
    return Finding(
        problem=probe.problem.key,
        answer=probe.problem.answer,
        completion=shortened(probe.completion),
        earned="executed as code, " + earned if _executed(probe) else earned,
    )


def checks(
    probes: Sequence[Probe], passes: Sequence[Answers], limits: ScoringSection
) -> tuple[CheckResult, ...]:
    """The rules for every reward."""
    return (
        _determinism(probes, passes),
        _no_fault(
            "bounds", probes, passes, lambda answer: answer.get("fault") == "contract", "broke them"
        ),
        _no_fault("exceptions", probes, passes, _escaped, "were not judged"),
        _time(probes, passes, limits),
        _memory(passes, limits),
    )


def latency(answers: Iterable[Answer]) -> dict[str, float]:
    """Percentiles of the seconds of a call."""
    seconds = sorted(answer.get("seconds", 0.0) for answer in answers)
    last = len(seconds) - 1
    return {"p50": seconds[last // 2], "p99": seconds[int(0.99 * last)], "max": seconds[last]}


def _determinism(probes: Sequence[Probe], passes: Sequence[Answers]) -> CheckResult:
    first, *others = passes
    places = ("in another order", "in another worker")
    changed = [
        (index, place)
        for place, again in zip(places, others, strict=True)
        for index in again
        if trial.verdict(again[index]) != trial.verdict(first[index])
    ]
    found = f"{len(others[0])} probes scored the same in another order and in another worker"
    if changed:
        index, place = changed[0]
        again = others[places.index(place)][index]
        found = (
            f"{len(changed)} probes scored differently, the first {place}: {_named(probes[index])} "
            f"gave {trial.verdict(first[index])}, then {trial.verdict(again)}"
        )
    return CheckResult(check="determinism", passed=not changed, found=found)


def _escaped(answer: Answer) -> bool:
    """An exception, a death, our data blamed for the completion, or a completion left out."""
    return answer.get("fault") in ("raised", "data") or answer.get("outcome") in ("crash", "infra")


def _no_fault(
    check: str,
    probes: Sequence[Probe],
    passes: Sequence[Answers],
    is_fault: Callable[[Answer], bool],
    what: str,
) -> CheckResult:
    faults = [(i, answer) for i, answer in passes[0].items() if is_fault(answer)]
    if not faults:
        return CheckResult(check=check, passed=True, found=f"none in {len(passes[0])} probes")
    index, answer = faults[0]
    found = f"{len(faults)} completions {what}; {_named(probes[index])}: {answer.get('message')}"
    return CheckResult(check=check, passed=False, found=found)


def _time(
    probes: Sequence[Probe], passes: Sequence[Answers], limits: ScoringSection
) -> CheckResult:
    # A timeout with a value is the reward's own word: it kept a limit, and was not killed.
    slow = [
        i
        for i, answer in passes[0].items()
        if answer.get("outcome") == "timeout" and "value" not in answer
    ]
    every = [answer for answers in passes for answer in answers.values()]
    found = ", ".join(f"{k} {1000 * v:.2f} ms" for k, v in latency(every).items())
    if slow:
        found += (
            f"; {len(slow)} over {limits.time_limit_s:g} s, the first: {_named(probes[slow[0]])}"
        )
    return CheckResult(check="time", passed=not slow, found=found)


def _memory(passes: Sequence[Answers], limits: ScoringSection) -> CheckResult:
    """Half of the limit is promised to each completion, whatever those before it left."""
    peak = trial.peak_mib([answer for answers in passes for answer in answers.values()])
    allowed = limits.memory_limit_gib * 1024 / 2
    found = f"a worker held {peak:.0f} MiB at most, of {allowed:.0f}"
    return CheckResult(check="memory", passed=peak <= allowed, found=found)


def _named(probe: Probe) -> str:
    return f"{probe.family} {shortened(probe.completion, 60)!r}"
