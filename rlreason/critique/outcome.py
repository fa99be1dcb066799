"""Examines every checkpoint, selects one of each training, and refuses what would be a leak."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlreason.critique.examination import Detail, Examined, Examiner
from rlreason.critique.records import stable_hash
from rlreason.critique.selection import Rule, Standing, select
from rlreason.errors import DataError
from rlreason.faults import fault_point
from rlreason.types import Problem

Row = dict[str, Any]


def refuse_tested(
    problems: Sequence[Problem], test_keys: frozenset[str], key_of: Callable[[Problem], str]
) -> None:
    """A seed problem must be none of those that policies are selected or tested by.

    Raises:
        DataError: Naming the problem.
    """
    for problem in problems:
        if key_of(problem) in test_keys:
            raise DataError(
                f"seed problem {problem.key} is also a validation or test problem; choose another "
                "one with seeds.problems, or take it out of the other pool"
            )


def refuse_overlap(
    validation: Mapping[str, Sequence[Problem]],
    test: Mapping[str, Sequence[Problem]],
    key_of: Callable[[Problem], str],
) -> None:
    """No problem may both choose a checkpoint and judge it.

    Raises:
        DataError: Naming the first such problem and how many there are.
    """
    tested = {key_of(problem): problem for problems in test.values() for problem in problems}
    shared = [
        (problem, tested[key_of(problem)])
        for problems in validation.values()
        for problem in problems
        if key_of(problem) in tested
    ]
    if shared:
        first, other = shared[0]
        raise DataError(
            f"{len(shared)} validation problems are also test problems, {first.key} (tested as "
            f"{other.key}) for one: checkpoints would be chosen by the test; take them out of one "
            "of the pools"
        )


def examine_all(
    checkpoints: Sequence[Row],
    examiner: Examiner,
    *,
    folder: Path,
    base: str,
    rule: Rule,
    progress: Callable[[int, int, str], None],
) -> list[Row]:
    """A row per policy, the untrained model first.

    Args:
        checkpoints: Rows of the train stage.
        examiner: Measures a policy.
        folder: The run folder.
        base: Hash of the untrained model.
        rule: How a training's result is selected.
        progress: Told of every policy.
    """
    start = {"method": "base", "group": "", "seed": 0, "update": 0, "digest": base, "loss": None}
    policies: list[Row] = [start, *checkpoints]
    rows: list[Row] = []
    for index, policy in enumerate(policies):
        progress(index, len(policies), "policies")
        fault_point("evaluate", index)
        number = policy_number(policy["digest"]) if index else 0
        place = _folder(folder, policy)
        rows.append(_row(number, policy, examiner.examine(number, place, policy["digest"])))
        if index == 0:  # now, as the engine holds the untrained model only until another is loaded
            rows[0] |= _detail(examiner.detail(number, place, policy["digest"]))
    progress(len(policies), len(policies), "policies")
    chosen = selected(rows[1:], rule)
    for done, index in enumerate(chosen):
        progress(done, len(chosen), "selected policies")
        row, policy = rows[1 + index], policies[1 + index]
        place = _folder(folder, policy)
        row |= _detail(examiner.detail(row["number"], place, policy["digest"]))
    return rows


def policy_number(digest: str) -> int:
    """The number that a policy is loaded and its answers are filed under: the same in every run."""
    return 1 + int(stable_hash(digest)[:9], 16)


def selected(rows: Sequence[Row], rule: Rule) -> list[int]:
    """The position in ``rows`` of the result of each training."""
    trainings: dict[tuple[str, str, int], list[int]] = {}
    for index, row in enumerate(rows):
        trainings.setdefault((row["method"], row["group"], row["seed"]), []).append(index)
    chosen = []
    for mine in trainings.values():
        standings = [
            Standing(update=rows[index]["update"], validation=rows[index]["validation"])
            for index in mine
        ]
        update = select(standings, rule)
        chosen += [index for index in mine if rows[index]["update"] == update]
    return chosen


def _detail(found: Detail) -> Row:
    return {
        "selected": True,
        "verdict_accuracy": found.verdicts and found.verdicts["accuracy"]["mean"],
        "detail": json.dumps(asdict(found)),
    }


def _folder(folder: Path, policy: Row) -> Path | None:
    return folder / policy["policy"] if "policy" in policy else None


def _row(number: int, policy: Row, examined: Examined) -> Row:
    greedy = examined.test["overall"]["greedy"]
    validation = examined.validation
    return {
        "number": number,
        **{name: policy[name] for name in ("method", "group", "seed", "update", "digest", "loss")},
        "validation": validation and validation["overall"]["greedy"]["mean"],
        "test": greedy["mean"],
        "test_low": greedy["low"],
        "test_high": greedy["high"],
        "leak_frac": examined.leak_frac,
        "verdict_accuracy": None,
        "selected": False,
        "examined": json.dumps(asdict(examined)),
        "detail": None,
    }
