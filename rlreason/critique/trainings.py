"""Which trainings a recipe asks for: every method, seed problem (or all of them) and seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from rlreason.config import CftConfig
from rlreason.critique.lessons import TurnCodec, encode, lessons_of
from rlreason.critique.records import Candidate, CritiqueExample
from rlreason.critique.training import Training
from rlreason.types import Problem

LeftOut = Mapping[str, Mapping[str, int]]
"""Training -> reason -> examples that cannot be used."""


def plan_trainings(
    config: CftConfig,
    examples: Sequence[CritiqueExample],
    candidates: Sequence[Candidate],
    *,
    codec: TurnCodec,
    render: Callable[[Problem, str], str],
    weights: str,
) -> tuple[list[Training], LeftOut]:
    """All trainings of a run, critiques first. The methods of a group make as many updates.

    Raises:
        DataError: If one of them has nothing to learn from.
    """
    section = config.training
    settings = {
        "learner": config.learner.model_dump(mode="json"),
        "model": config.model.model_dump(mode="json", exclude={"path"}),
        "weights": weights,
    }
    groups = _groups(section.problems, examples, candidates)
    trainings: list[Training] = []
    left_out: dict[str, Mapping[str, int]] = {}
    updates: dict[str, int] = {}
    for method, group, seed in product(("cft", *config.baselines), groups, section.seeds):
        lessons = lessons_of(method, *groups[group], seed=seed, render=render)
        sequences, reasons = encode(lessons, codec, max_tokens=section.max_tokens)
        # Critiques come first: the baselines of a group make as many updates.
        num_updates = updates.setdefault(group, _updates(config, len(sequences)))
        training = Training(
            method=method,
            group=group,
            seed=seed,
            sequences=tuple(sequences),
            updates=num_updates,
            batch_size=section.batch_size,
            checkpoint_every=section.checkpoint_every,
            settings=settings,
        )
        trainings.append(training)
        left_out[training.name] = reasons
    return trainings, left_out


def _updates(config: CftConfig, num_examples: int) -> int:
    section = config.training
    if section.updates is not None:
        return section.updates
    assert section.epochs is not None, "checked by the section"
    return math.ceil(section.epochs * num_examples / section.batch_size)


def _groups(
    problems: str, examples: Sequence[CritiqueExample], candidates: Sequence[Candidate]
) -> dict[str, tuple[list[CritiqueExample], list[Candidate]]]:
    """Name -> critiques and candidates of what is trained on together."""
    if problems == "together":
        return {"all": (list(examples), list(candidates))}
    keys = dict.fromkeys(candidate.problem.key for candidate in candidates)
    return {
        key: (
            [example for example in examples if example.problem.key == key],
            [candidate for candidate in candidates if candidate.problem.key == key],
        )
        for key in keys
    }
