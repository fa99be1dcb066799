"""What a trained policy can do: plain problems, verdicts on held-out solutions, leaked style.

A policy is examined once: the result is kept under the hash of its parameters and of all that the
examination depends on, so that another seed or baseline costs its own checkpoints only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rlreason import jsonl
from rlreason.config import EvaluationSection
from rlreason.critique.lessons import critic_prompt
from rlreason.critique.records import stable_hash
from rlreason.estimates import Estimate, fraction_estimate
from rlreason.evaluate import Evaluation, Evaluator
from rlreason.protocols import RolloutEngine, Scorer
from rlreason.types import Problem

VALIDATION = "validation"
"""Folder, in the run folder, of what checkpoints answered to validation problems."""

STYLE = re.compile(r"\bconclusion *:", re.IGNORECASE)
"""What gives a critique away in an answer to a plain problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What a policy says of solutions that the model wrote before training."""

    num: int
    readable_frac: float
    """Critiques with a verdict in the form asked for."""
    accuracy: Estimate
    """True verdicts among all; one that cannot be read is not true."""
    corrected_frac: float
    """Critiques that end in the right answer, or rightly accept it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What every policy shows."""

    validation: Mapping[str, Any] | None
    """An ``Evaluation``, greedy only; None without validation problems."""
    test: Mapping[str, Any]
    """An ``Evaluation``, greedy only."""
    leak_frac: float
    """Share of greedy answers to test problems in the style of a critique."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What is measured of selected policies alone."""

    sampled: Mapping[str, Any] | None
    """An ``Evaluation`` with samples; None where none are asked for."""
    verdicts: Mapping[str, Any] | None
    """``Verdicts``; None where none are asked for, or nothing is there to judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Everything that an examination needs."""

    folder: Path
    """The run folder."""
    engine: Callable[[], RolloutEngine]
    """Started at the first call; holds the untrained model then."""
    load: Callable[[RolloutEngine, Path, int], None]
    """Loads a policy folder into the engine under a number."""
    scorer: Scorer
    bounds: Mapping[str, tuple[float, float]]
    validation: Mapping[str, Sequence[Problem]]
    test: Mapping[str, Sequence[Problem]]
    section: EvaluationSection
    num_verdicts: int
    fits: Callable[[Problem], bool]
    """Whether a prompt leaves the engine room for an answer."""
    render: Callable[[Problem, str], str]
    """Fills the template that asks the policy for a critique."""
    settings: str
    """Hash of all of the above that a result depends on."""

    def examine(self, number: int, policy: Path | None, digest: str) -> Examined:
        """Examine policy ``number``: the untrained model for None, which must come first."""
        key = stable_hash("examined", digest, self.settings)
        found = self._cached(key)
        if found is None:
            engine = self._with_policy(number, policy)
            validation = self._evaluate(engine, self.validation, number, self.folder / VALIDATION)
            test = self._evaluate(engine, self.test, number, self.folder)
            assert test is not None, "checked by the configuration"
            found = asdict(
                Examined(
                    validation=validation,
                    test=test,
                    leak_frac=leak_frac(self._answers(number)),
                )
            )
            self._store(key, found)
        return Examined(**found)

    def detail(self, number: int, policy: Path | None, digest: str) -> Detail:
        """Sampled answers to the test problems, and verdicts, of an examined policy."""
        key = stable_hash("detail", digest, self.settings)
        found = self._cached(key)
        if found is None:
            engine = self._with_policy(number, policy)
            sampled = None
            if self.section.samples:
                sampled = self._run(engine, self.test, self.section, self.folder, number).to_json()
            found = asdict(Detail(sampled=sampled, verdicts=self._verdicts(engine)))
            self._store(key, found)
        return Detail(**found)

    def _with_policy(self, number: int, policy: Path | None) -> RolloutEngine:
        engine = self.engine()
        if engine.policy_version != number:
            assert policy is not None, "the untrained model is examined first"
            self.load(engine, policy, number)
        return engine

    def _evaluate(
        self,
        engine: RolloutEngine,
        problems: Mapping[str, Sequence[Problem]],
        number: int,
        folder: Path,
    ) -> dict[str, Any] | None:
        if not any(problems.values()):
            return None
        greedy = self.section.model_copy(update={"samples": 0})
        return self._run(engine, problems, greedy, folder, number).to_json()

    def _run(
        self,
        engine: RolloutEngine,
        problems: Mapping[str, Sequence[Problem]],
        section: EvaluationSection,
        folder: Path,
        number: int,
    ) -> Evaluation:
        evaluator = Evaluator(engine, self.scorer, problems, section, self.bounds, folder)
        return evaluator.evaluate(number)

    def _answers(self, number: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(
            self.folder / "evaluations" / f"{number:06d}.parquet"
        ).to_pylist()
        return rows

    def _verdicts(self, engine: RolloutEngine) -> dict[str, Any] | None:
        questions = self._questions()
        if not questions:
            return None
        groups = engine.evaluate(questions, samples=1, greedy=True)
        scores = [score for _, [score] in self.scorer.score(groups)]
        judged = [score for score in scores if score.outcome != "infra"]
        if not judged:
            return None
        parts = [score.parts for score in judged]
        return asdict(
            Verdicts(
                num=len(judged),
                readable_frac=sum(part.get("format", 0.0) for part in parts) / len(parts),
                accuracy=fraction_estimate([part.get("verdict", 0.0) == 1.0 for part in parts]),
                corrected_frac=sum(part.get("correction", 0.0) for part in parts) / len(parts),
            )
        )

    def _questions(self) -> list[Problem]:
        """The untrained model's answers to test problems, half of them right if there are."""
        by_key = {
            (problem.pool, problem.id): problem
            for problems in self.test.values()
            for problem in problems
        }
        answers = [row for row in self._answers(0) if row["greedy_correct"] is not None]
        chosen = half_and_half(answers, self.num_verdicts)
        questions = [
            _question(self.render, by_key[row["pool"], row["problem_id"]], row) for row in chosen
        ]
        return [question for question in questions if self.fits(question)]

    def _cached(self, key: str) -> dict[str, Any] | None:
        for line in jsonl.read_lines(self._store_file()):
            row = json.loads(line)
            if row["key"] == key:
                result: dict[str, Any] = row["result"]
                return result
        return None

    def _store(self, key: str, result: Mapping[str, Any]) -> None:
        path = self._store_file()
        jsonl.rewrite(path, jsonl.read_lines(path))  # appending behind a torn line would spoil both
        jsonl.append(path, json.dumps({"key": key, "result": result}))

    def _store_file(self) -> Path:
        return self.folder / "evaluations.jsonl"


def leak_frac(answers: Sequence[Mapping[str, Any]]) -> float:
    """Share of answers to plain problems that read like a critique."""
    leaks = [bool(STYLE.search(row["greedy_completion"])) for row in answers]
    return sum(leaks) / len(leaks)


def half_and_half(answers: Sequence[dict[str, Any]], wanted: int) -> list[dict[str, Any]]:
    """As many right as wrong answers, ``wanted`` in all if there are so many, chosen by hash."""
    ordered = sorted(answers, key=lambda row: stable_hash(row["pool"], row["problem_id"]))
    halves = [
        [row for row in ordered if row["greedy_correct"] is correct] for correct in (True, False)
    ]
    size = min(wanted // 2, *map(len, halves))
    return [row for half in halves for row in half[:size]]


def _question(
    render: Callable[[Problem, str], str], problem: Problem, row: Mapping[str, Any]
) -> Problem:
    asked = critic_prompt(render, problem, row["greedy_completion"])
    metadata = dict(asked.metadata) | {"candidate_correct": bool(row["greedy_correct"])}
    return Problem(
        id=asked.id, pool=asked.pool, prompt=asked.prompt, answer=asked.answer, metadata=metadata
    )
