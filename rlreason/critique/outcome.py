"""Examines every checkpoint, selects one of each training, and refuses what would be a leak."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlreason.critique.examination import Examined, Examiner
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
    for number, policy in enumerate(policies):
        progress(number, len(policies), "policies")
        fault_point("evaluate", number)
        examined = examiner.examine(number, _folder(folder, policy), policy["digest"])
        rows.append(_row(number, policy, examined))
    progress(len(policies), len(policies), "policies")
    chosen = {0, *selected(rows[1:], rule)}
    for row, policy in zip(rows, policies, strict=True):
        if row["number"] in chosen:
            row["selected"] = True
            if examiner.section.samples:
                found = examiner.sample(row["number"], _folder(folder, policy), policy["digest"])
                row["sampled"] = json.dumps(found)
    return rows


def selected(rows: Sequence[Row], rule: Rule) -> list[int]:
    """The number of the policy that is the result of each training."""
    trainings: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        trainings.setdefault((row["method"], row["group"], row["seed"]), []).append(row)
    numbers = []
    for mine in trainings.values():
        standings = [Standing(update=r["update"], validation=r["validation"]) for r in mine]
        update = select(standings, rule)
        numbers += [row["number"] for row in mine if row["update"] == update]
    return numbers


def _folder(folder: Path, policy: Row) -> Path | None:
    return folder / policy["policy"] if "policy" in policy else None


def _row(number: int, policy: Row, examined: Examined) -> Row:
    greedy = examined.test["overall"]["greedy"]
    validation, verdicts = examined.validation, examined.verdicts
    return {
        "number": number,
        **{name: policy[name] for name in ("method", "group", "seed", "update", "digest", "loss")},
        "validation": validation and validation["overall"]["greedy"]["mean"],
        "test": greedy["mean"],
        "test_low": greedy["low"],
        "test_high": greedy["high"],
        "leak_frac": examined.leak_frac,
        "verdict_accuracy": verdicts and verdicts["accuracy"]["mean"],
        "selected": False,
        "examined": json.dumps(asdict(examined)),
        "sampled": None,
    }
