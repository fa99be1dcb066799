"""The write-ahead log of scored rollouts: nothing is learned from before it is here.

One folder a step, committed whole (see ``atomic.py``). A step that was journaled is learned again
on resume, never sampled again; one whose entry is damaged counts as not there.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlreason.atomic import (
    commit_folder,
    folder_numbers,
    numbered_folder,
    remove_folder,
    verify_manifest,
)
from rlreason.errors import DataError, TrainingStopped
from rlreason.faults import fault_point
from rlreason.types import Baseline, Problem, Prompt, Rollout, RolloutGroup, Score, ScoredGroup

FILE = "rollouts.parquet"

SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("slot", pa.int64()),
        ("sample", pa.int64()),
        ("pool", pa.string()),
        ("problem_id", pa.string()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("metadata", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("completion_ids", pa.list_(pa.int32())),
        ("completion", pa.string()),
        ("rollout_logprobs", pa.list_(pa.float64())),
        ("finish_reason", pa.string()),
        ("policy_version", pa.int64()),
        ("score", pa.float64()),
        ("score_parts", pa.string()),
        ("outcome", pa.string()),
        ("score_seconds", pa.float64()),
        ("advantage", pa.float64()),
        ("reference_kl", pa.float64()),
        ("baseline", pa.string()),
    ]
)
"""One row per rollout, groups in the order of the step, ``sample`` counting up from 0 in each.
``baseline`` is the group's greedy completion with its score as JSON, in the row of sample 0."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """Everything that one step learned from."""

    step: int
    policy_version: int
    """Version that the rollouts were sampled from."""
    weights: Mapping[str, float]
    """Pool -> probability of the draw."""
    scored: tuple[ScoredGroup, ...]


class Journal:
    """The steps of a run, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def commit(
        self,
        step: int,
        *,
        weights: Mapping[str, float],
        scored: Sequence[ScoredGroup],
        policy_version: int,
    ) -> None:
        """Put ``step`` on the disk, whole; when this returns, no crash can lose it.

        Raises:
            DataError: If a problem holds what JSON or UTF-8 cannot.
            TrainingStopped: If the disk is full: to go on would lose rollouts.
        """
        facts = {"step": step, "policy_version": policy_version, "weights": dict(weights)}
        table = pa.Table.from_pydict(_columns(step, scored), schema=SCHEMA)
        table = table.replace_schema_metadata({"rlreason": json.dumps(facts)})
        try:
            with commit_folder(
                numbered_folder(self._folder, step),
                extra={"step": step},
                before_rename=partial(fault_point, "journal", step),
            ) as folder:
                pq.write_table(table, folder / FILE, compression="zstd")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise TrainingStopped(
                f"step {step}: the disk of {self._folder} is full, so the step's rollouts cannot "
                "be kept; free some space, then the same command continues the run"
            ) from error

    def read(self, step: int) -> JournalEntry | None:
        """The entry of ``step``, equal to what was committed; None when there is no valid one."""
        folder = numbered_folder(self._folder, step)
        if not folder.exists():
            return None
        problems = verify_manifest(folder)
        if not problems:
            try:
                return _entry(step, pq.read_table(folder / FILE))
            except (OSError, KeyError, TypeError, ValueError) as error:
                problems = [f"{FILE} does not hold a step: {error!r}"]
        logger.warning(
            "journal entry %s counts as absent, its step is sampled again: %s",
            folder,
            "; ".join(problems),
        )
        return None

    def last_step(self) -> int | None:
        """The highest step with a valid entry."""
        for step in reversed(folder_numbers(self._folder)):
            if not verify_manifest(numbered_folder(self._folder, step)):
                return step
        return None

    def discard_from(self, step: int) -> list[int]:
        """Remove the entries of ``step`` and later; returns their steps.

        For runs that are not deterministic: behind a damaged entry the rest is worth nothing, as
        its rollouts come from versions of the policy that sampling that step again need not reach.
        """
        discarded = [number for number in folder_numbers(self._folder) if number >= step]
        for number in reversed(discarded):  # newest first: a kill leaves no gap
            remove_folder(numbered_folder(self._folder, number))
        if discarded:
            logger.warning(
                "removed the journal entries of steps %s: they follow from a step that is "
                "sampled again",
                discarded,
            )
        return discarded


def _columns(step: int, scored: Sequence[ScoredGroup]) -> dict[str, list[Any]]:
    sizes = [len(group.scores) for group in scored]
    rollouts = list(chain.from_iterable(group.group.rollouts for group in scored))
    scores = list(chain.from_iterable(group.scores for group in scored))

    def each(values: Iterable[Any]) -> list[Any]:
        """One value per group -> one per rollout."""
        pairs = zip(values, sizes, strict=True)
        return [value for value, size in pairs for _ in range(size)]

    problems = [group.problem for group in scored]
    return {
        "step": [step] * len(rollouts),
        "slot": each(group.group.slot for group in scored),
        "sample": [sample for size in sizes for sample in range(size)],
        "pool": each(_text(problem, problem.pool) for problem in problems),
        "problem_id": each(_text(problem, problem.id) for problem in problems),
        "prompt": each(_json(problem, problem.prompt) for problem in problems),
        "answer": each(_text(problem, problem.answer) for problem in problems),
        "metadata": each(_json(problem, dict(problem.metadata)) for problem in problems),
        "prompt_ids": [rollout.prompt_ids for rollout in rollouts],
        "completion_ids": [rollout.completion_ids for rollout in rollouts],
        "completion": [rollout.completion for rollout in rollouts],
        "rollout_logprobs": [rollout.rollout_logprobs for rollout in rollouts],
        "finish_reason": [rollout.finish_reason for rollout in rollouts],
        "policy_version": [rollout.policy_version for rollout in rollouts],
        "score": [score.value for score in scores],
        "score_parts": [json.dumps(dict(score.parts)) for score in scores],
        "outcome": [score.outcome for score in scores],
        "score_seconds": [score.seconds for score in scores],
        "advantage": list(chain.from_iterable(group.advantages for group in scored)),
        "reference_kl": list(
            chain.from_iterable(
                group.reference_kl or (None,) * size
                for group, size in zip(scored, sizes, strict=True)
            )
        ),
        "baseline": [
            _baseline_json(group) if sample == 0 else None
            for group, size in zip(scored, sizes, strict=True)
            for sample in range(size)
        ],
    }


def _baseline_json(group: ScoredGroup) -> str | None:
    return None if group.baseline is None else json.dumps(asdict(group.baseline))


def _text(problem: Problem, value: str | None) -> str | None:
    try:
        return value and value.encode().decode()
    except UnicodeEncodeError as error:
        raise DataError(f"problem {problem.key!r}: {error}; text must be valid Unicode") from None


def _json(problem: Problem, value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"problem {problem.key}: its metadata cannot be written as JSON ({error}); a source "
            "gives text, numbers, booleans, null, lists and objects only"
        ) from None


def _entry(step: int, table: pa.Table) -> JournalEntry:
    if not table.schema.equals(SCHEMA):
        raise ValueError(f"its columns are {table.schema.names}")
    facts = json.loads(table.schema.metadata[b"rlreason"])
    if facts["step"] != step:
        raise ValueError(f"it says that it is step {facts['step']}")
    groups: list[list[dict[str, Any]]] = []
    for row in table.to_pylist():
        if row["sample"] == 0:
            groups.append([])
        groups[-1].append(row)
    return JournalEntry(
        step=step,
        policy_version=facts["policy_version"],
        weights=facts["weights"],
        scored=tuple(_scored_group(rows) for rows in groups),
    )


def _scored_group(rows: Sequence[Mapping[str, Any]]) -> ScoredGroup:
    first = rows[0]
    problem = Problem(
        id=first["problem_id"],
        pool=first["pool"],
        prompt=_prompt(json.loads(first["prompt"])),
        answer=first["answer"],
        metadata=json.loads(first["metadata"]),
    )
    return ScoredGroup(
        group=RolloutGroup(
            problem=problem, slot=first["slot"], rollouts=tuple(_rollout(row) for row in rows)
        ),
        scores=tuple(_score(row) for row in rows),
        advantages=tuple(row["advantage"] for row in rows),
        baseline=_baseline(first["baseline"]),
        reference_kl=(
            None if first["reference_kl"] is None else tuple(row["reference_kl"] for row in rows)
        ),
    )


def _baseline(text: str | None) -> Baseline | None:
    if text is None:
        return None
    fields = json.loads(text)
    rollout = fields["rollout"]
    for name in ("prompt_ids", "completion_ids", "rollout_logprobs"):
        rollout[name] = tuple(rollout[name])
    return Baseline(rollout=Rollout(**rollout), score=Score(**fields["score"]))


def _prompt(value: Any) -> Prompt:
    return value if isinstance(value, str) else tuple(value)


def _rollout(row: Mapping[str, Any]) -> Rollout:
    return Rollout(
        prompt_ids=tuple(row["prompt_ids"]),
        completion_ids=tuple(row["completion_ids"]),
        completion=row["completion"],
        rollout_logprobs=tuple(row["rollout_logprobs"]),
        finish_reason=row["finish_reason"],
        policy_version=row["policy_version"],
    )


def _score(row: Mapping[str, Any]) -> Score:
    return Score(
        value=row["score"],
        parts=json.loads(row["score_parts"]),
        outcome=row["outcome"],
        seconds=row["score_seconds"],
    )
