"""What the files of a critique fine-tuning run say, as far as its stages have come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rlreason.critique.artifacts import read_provenance, read_rows
from rlreason.critique.records import CritiqueExample
from rlreason.critique.selection import Spread
from rlreason.critique.stages import STAGES, StageName, stage_file
from rlreason.critique.tables import read_table
from rlreason.errors import DataError
from rlreason.sweep.stats import Verdict, seed_effect, verdict

Row = Mapping[str, Any]

_WORDS: Mapping[Verdict, str] = {
    "better": "critiques do better",
    "worse": "critiques do worse",
    "not shown": "no difference shown",
    "too few seeds": "too few trainings to tell",
}

NAMES = {
    "base": "before training",
    "cft": "critiques",
    "sft_one": "one verified solution",
    "sft_all": "all verified solutions",
    "format_only": "critiques, form only",
}
"""Method -> what a reader calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CftData:
    """A run's files, read."""

    name: str
    config: Mapping[str, Any]
    done: tuple[StageName, ...]
    seeds: Sequence[Row]
    generators: Sequence[Row]
    """Counts of the candidates stage."""
    funnel: Sequence[Row]
    """One row per generator and teacher."""
    examples: Sequence[CritiqueExample]
    left_out: Mapping[str, Mapping[str, int]]
    """Training -> reason -> examples that could not be encoded."""
    results: Sequence[Row]
    """Every policy, the untrained model first; empty before the evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """A method over its trainings."""

    method: str
    trainings: int
    selected: Spread
    """Greedy test accuracy of the selected checkpoints."""
    updates: tuple[int, ...]
    """Where they were selected."""
    last: Spread
    """Greedy test accuracy after the last update."""
    sampled: Spread | None
    verdicts: Spread | None
    leaks: Spread


def read_cft(folder: Path) -> CftData:
    """Read the run folder.

    Raises:
        DataError: If this is no run of critique fine-tuning.
    """
    config = _config(folder)
    stages = folder / "stages"
    done = tuple(name for name in STAGES if read_provenance(stage_file(stages, name)) is not None)
    examples = (
        read_rows(stage_file(stages, "filter"), CritiqueExample)[0] if "filter" in done else []
    )
    return CftData(
        name=folder.resolve().name,
        config=config,
        done=done,
        seeds=read_table(stage_file(stages, "seeds")) if "seeds" in done else [],
        generators=_counts(stages, "candidates", "generators"),
        funnel=_counts(stages, "filter", "funnel"),
        examples=examples,
        left_out=dict(_counts(stages, "train", "left_out")),
        results=read_table(stage_file(stages, "evaluate")) if "evaluate" in done else [],
    )


def method_results(results: Sequence[Row]) -> list[MethodResult]:
    """Every method, critiques first, in the order of the trainings."""
    methods = dict.fromkeys(row["method"] for row in results if row["method"] != "base")
    return [_method(name, [row for row in results if row["method"] == name]) for name in methods]


def differences(results: Sequence[Row], method: str) -> list[float]:
    """Greedy test accuracy of critiques minus ``method``'s, training by training."""
    chosen = {
        (row["method"], row["group"], row["seed"]): row["test"]
        for row in results
        if row["selected"] and row["method"] != "base"
    }
    return [
        accuracy - chosen[method, group, seed]
        for (name, group, seed), accuracy in chosen.items()
        if name == "cft" and (method, group, seed) in chosen
    ]


def verdict_sentences(results: Sequence[Row]) -> list[str]:
    """What the comparison with each baseline comes to, in words."""
    sentences = []
    for result in method_results(results):
        gaps = differences(results, result.method)
        if result.method == "cft" or not gaps:
            continue
        effect = seed_effect(gaps)
        sentences.append(
            f"Critiques against {NAMES[result.method]}: {effect} over {len(gaps)} trainings: "
            f"{_WORDS[verdict(effect, effect.p)]}."
        )
    return sentences


def overall(row: Row) -> Row:
    """All test problems of an examined policy."""
    return _evaluation(row)["overall"]


def by_pool(row: Row) -> dict[str, Row]:
    """Pool -> test result of an examined policy."""
    pools: dict[str, Row] = _evaluation(row)["pools"]
    return pools


def _evaluation(row: Row) -> dict[str, Any]:
    evaluation: dict[str, Any] = json.loads(row["examined"])["test"]
    return evaluation


def _method(name: str, rows: Sequence[Row]) -> MethodResult:
    chosen = [row for row in rows if row["selected"]]
    final = max(row["update"] for row in rows)
    sampled = [json.loads(row["detail"])["sampled"] for row in chosen]
    averages = [one["overall"]["avg_at_k"]["mean"] for one in sampled if one]
    verdicts = [row["verdict_accuracy"] for row in chosen if row["verdict_accuracy"] is not None]
    return MethodResult(
        method=name,
        trainings=len(chosen),
        selected=Spread(values=tuple(row["test"] for row in chosen)),
        updates=tuple(row["update"] for row in chosen),
        last=Spread(values=tuple(row["test"] for row in rows if row["update"] == final)),
        sampled=Spread(values=tuple(averages)) if averages else None,
        verdicts=Spread(values=tuple(verdicts)) if verdicts else None,
        leaks=Spread(values=tuple(row["leak_frac"] for row in chosen)),
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not path.is_file():
        raise DataError(f"{folder}: holds no config.yaml, so it is no run")
    config: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    if config.get("kind") != "cft":
        raise DataError(f"{folder}: is a run of kind {config.get('kind')!r}, not of cft")
    return config


def _counts(stages: Path, name: StageName, key: str) -> Any:
    provenance = read_provenance(stage_file(stages, name))
    return provenance.counts.get(key, []) if provenance else []
