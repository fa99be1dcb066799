"""The best and worst completions of a journaled step, on the page or in the terminal.

One completion per problem, so that five show five problems; all of it is text by the model and
passes ``visible`` before it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

from rlreason.errors import DataError
from rlreason.redact import visible

STEPS_FOLDER = "steps"
SHOWN_CHARACTERS = 4000
"""Longer texts are cut, and say so."""

_COLUMNS = [
    "slot", "pool", "problem_id", "prompt", "answer", "completion", "completion_ids",
    "finish_reason", "score", "score_parts", "outcome", "advantage",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCompletion:
    """A scored completion, its texts made safe to show."""

    slot: int
    problem: str
    """``pool/id``."""
    turns: tuple[tuple[str, str], ...]
    """Role and text of each turn of the prompt; the role is empty for a plain prompt."""
    answer: str
    completion: str
    num_tokens: int
    truncated: bool
    score: float
    parts: tuple[tuple[str, float], ...]
    outcome: str
    advantage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Extremes:
    """The ends of a step's completions; a completion is in one of them at most."""

    step: int
    best: tuple[ShownCompletion, ...]
    worst: tuple[ShownCompletion, ...]


def journaled_steps(run_folder: Path) -> list[int]:
    """Steps whose rollouts the journal holds; one without a manifest does not exist."""
    manifests = (run_folder / STEPS_FOLDER).glob("*/MANIFEST.json")
    names = (path.parent.name for path in manifests)
    return sorted(int(name) for name in names if name.isdecimal())


def read_extremes(run_folder: Path, step: int | None, count: int = 5) -> Extremes | None:
    """The ``count`` best and worst of ``step``, of the last journaled one if None.

    Returns:
        None if ``step`` is None and the journal is empty.

    Raises:
        DataError: If the journal does not hold ``step``.
    """
    steps = journaled_steps(run_folder)
    if step is None and not steps:
        return None
    chosen = steps[-1] if step is None else step
    if chosen not in steps:
        held = f"it holds {steps[0]} to {steps[-1]}" if steps else "it is empty"
        raise DataError(f"{run_folder}: the journal has no step {chosen}; {held}")
    path = run_folder / STEPS_FOLDER / f"{chosen:06d}" / "rollouts.parquet"
    rows = pq.read_table(path, columns=_COLUMNS).to_pylist()
    scored = [_shown(row) for row in rows if row["outcome"] != "infra"]
    # Among equal scores the larger advantage is the rarer success, the lower the rarer failure.
    ranked = sorted(scored, key=lambda item: (-item.score, -item.advantage, item.slot))
    best = _one_per_problem(ranked, count)
    taken = {id(item) for item in best}
    worst = _one_per_problem((item for item in reversed(ranked) if id(item) not in taken), count)
    return Extremes(step=chosen, best=best, worst=worst)


def best_and_worst(run_folder: Path, step: int, count: int = 5) -> RenderableType:
    """The best and worst completions of ``step``, for the terminal.

    Raises:
        DataError: If the journal does not hold ``step``.
    """
    extremes = read_extremes(run_folder, step, count)
    assert extremes is not None, "a given step is found or raises"
    parts: list[RenderableType] = []
    for title, items in (("best", extremes.best), ("worst", extremes.worst)):
        parts.append(Rule(f"{title} {len(items)} of step {extremes.step}"))
        parts.extend(_panel(item) for item in items)
    return Group(*parts)


def _one_per_problem(items: Iterable[ShownCompletion], count: int) -> tuple[ShownCompletion, ...]:
    first: dict[int, ShownCompletion] = {}
    for item in items:
        first.setdefault(item.slot, item)
        if len(first) == count:
            break
    return tuple(first.values())


def _shown(row: dict[str, Any]) -> ShownCompletion:
    prompt = json.loads(row["prompt"])
    turns = (
        [("", prompt)] if isinstance(prompt, str) else [(t["role"], t["content"]) for t in prompt]
    )
    parts = json.loads(row["score_parts"]) if row["score_parts"] else {}
    return ShownCompletion(
        slot=row["slot"],
        problem=_safe(f"{row['pool']}/{row['problem_id']}"),
        turns=tuple((_safe(role), _safe(text)) for role, text in turns),
        answer=_safe(row["answer"] or ""),
        completion=_safe(row["completion"]),
        num_tokens=len(row["completion_ids"]),
        truncated=row["finish_reason"] == "length",
        score=row["score"],
        parts=tuple((_safe(name), value) for name, value in parts.items()),
        outcome=row["outcome"],
        advantage=row["advantage"],
    )


def _safe(text: str) -> str:
    left = len(text) - SHOWN_CHARACTERS
    cut = text if left <= 0 else f"{text[:SHOWN_CHARACTERS]} … {left:,} more characters"
    return visible(cut, keep="\n\t")


def facts(item: ShownCompletion) -> str:
    """Score, advantage and length in one line."""
    words = [
        f"score {item.score:g}",
        f"advantage {item.advantage:+.2f}",
        f"{item.num_tokens} tokens",
    ]
    words += [f"{name} {value:g}" for name, value in item.parts]
    words += ["cut at the token limit"] if item.truncated else []
    words += [item.outcome] if item.outcome != "ok" else []
    return " · ".join(words)


def _panel(item: ShownCompletion) -> Panel:
    # Text, never markup: square brackets by the model must stay square brackets.
    body = Text()
    for role, text in item.turns:
        body.append(f"{role}: " if role else "", style="bold")
        body.append(text + "\n", style="dim")
    if item.answer:
        body.append("answer: ", style="bold").append(item.answer + "\n")
    body.append("completion: ", style="bold").append(item.completion)
    title = Text(f"{item.problem} · {facts(item)}")
    return Panel(body, title=title, title_align="left")
