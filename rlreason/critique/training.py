"""One training after the other: method x seed problem(s) x seed, each killed and resumed exactly.

A training has a folder of its own:

    checkpoints/cft.all.seed0/training.json       hash of what it learns from and how
                              policies/000010/    every checkpoint, as transformers loads it
                              resume/000010/      the newest one with the optimizer, to go on from
                              updates.jsonl       loss, gradient norm and rate of each update
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlreason import jsonl
from rlreason.atomic import (
    clean_leftovers,
    commit_folder,
    folder_numbers,
    numbered_folder,
    replace_file,
    verify_manifest,
)
from rlreason.checkpoint import Checkpointer
from rlreason.critique.lessons import batch_of
from rlreason.critique.records import stable_hash
from rlreason.errors import TrainingStopped
from rlreason.faults import fault_point
from rlreason.protocols import Learner
from rlreason.types import TrainSequence, UpdateStats

OpenLearner = Callable[[Path | None, int], Learner]
"""(policy to start from or None for the recipe's model, updates in all) -> learner."""

MAX_SKIPPED = 3
"""Updates in a row that may be non-finite."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is learned, and from where on."""

    method: str
    group: str
    """``all``, or the key of the one seed problem."""
    seed: int
    sequences: tuple[TrainSequence, ...]
    updates: int
    batch_size: int
    checkpoint_every: int
    settings: Mapping[str, Any]
    """What else its result depends on, JSON-ready: learner section, weights of the model."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        group = self.group if self.group == "all" else stable_hash(self.group)[:8]
        return f"{self.method}.{group}.seed{self.seed}"

    @property
    def hash(self) -> str:
        """Hash of all that its result depends on."""
        data = [(sequence.token_ids, sequence.loss_mask) for sequence in self.sequences]
        plan = (self.seed, self.updates, self.batch_size, self.checkpoint_every)
        return stable_hash(data, plan, dict(self.settings))

    @property
    def versions(self) -> list[int]:
        """Updates after which a checkpoint is made."""
        every = range(self.checkpoint_every, self.updates, self.checkpoint_every)
        return [*every, self.updates]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedCheckpoint:
    """A policy that came out of a training."""

    method: str
    group: str
    seed: int
    update: int
    policy: str
    """Its folder, relative to the run folder."""
    digest: str
    """SHA-256 of its parameters."""
    loss: float
    """Of the last update before it, nats per token."""


def train_one(
    training: Training,
    folder: Path,
    open_learner: OpenLearner,
    progress: Callable[[int], None],
) -> list[TrainedCheckpoint]:
    """Do or finish ``training`` in ``folder``; its checkpoints in order.

    Raises:
        TrainingStopped: If updates keep coming out non-finite.
    """
    place = folder / training.name
    _claim(place, training)
    digests = _finished(place, training)
    if digests is None:
        _train(training, place, open_learner, progress)
        digests = _finished(place, training)
        assert digests is not None, "training leaves every checkpoint"
    losses = [row["loss"] for row in _updates(place)]
    return [
        TrainedCheckpoint(
            method=training.method,
            group=training.group,
            seed=training.seed,
            update=version,
            policy=str(numbered_folder(place / "policies", version).relative_to(folder.parent)),
            digest=digests[version],
            loss=losses[version - 1],
        )
        for version in training.versions
    ]


def _claim(place: Path, training: Training) -> None:
    """Make the folder this training's own; what another one left there is removed."""
    note = place / "training.json"
    facts = {
        "hash": training.hash,
        "method": training.method,
        "group": training.group,
        "seed": training.seed,
        "examples": len(training.sequences),
        "updates": training.updates,
    }
    if place.exists() and (not note.exists() or json.loads(note.read_text()) != facts):
        logger.warning("%s: made from other inputs; trained anew", place.name)
        shutil.rmtree(place)
    for name in ("policies", "resume"):
        (place / name).mkdir(parents=True, exist_ok=True)
        clean_leftovers(place / name)
    if not note.exists():
        replace_file(note, json.dumps(facts, indent=1) + "\n")


def _finished(place: Path, training: Training) -> dict[int, str] | None:
    """Update -> digest of its policy, if all of them are there and whole."""
    digests: dict[int, str] = {}
    for version in training.versions:
        policy = numbered_folder(place / "policies", version)
        if verify_manifest(policy):
            return None
        manifest = json.loads((policy / "MANIFEST.json").read_text(encoding="utf-8"))
        digests[version] = manifest["extra"]["digest"]
    return digests if len(_updates(place)) == training.updates else None


def _train(
    training: Training, place: Path, open_learner: OpenLearner, progress: Callable[[int], None]
) -> None:
    checkpointer = Checkpointer(place / "resume", keep=1)
    checkpoint = checkpointer.newest() if _is_whole(place, training) else None
    learner = open_learner(checkpoint.policy if checkpoint else None, training.updates)
    if checkpoint:
        checkpointer.load_into(checkpoint, learner)
    start = checkpoint.version if checkpoint else 0
    rows = _updates(place)[:start]
    jsonl.rewrite(place / "updates.jsonl", map(json.dumps, rows))
    skipped = 0
    for update in range(start, training.updates):
        progress(update)
        fault_point("train", update)
        batch = batch_of(
            training.sequences,
            update=update,
            batch_size=training.batch_size,
            seed=training.seed,
        )
        stats = learner.update([batch], step=update)
        skipped = skipped + 1 if stats.skipped else 0
        _stop_if_diverged(training, skipped)
        jsonl.append(place / "updates.jsonl", json.dumps(_row(update, stats)))
        if update + 1 in training.versions:
            _save(place, update + 1, learner, checkpointer)
    progress(training.updates)


def _is_whole(place: Path, training: Training) -> bool:
    """Whether every checkpoint before the newest one can be shown; else training starts anew."""
    newest = max(folder_numbers(place / "resume"), default=0)
    return all(
        not verify_manifest(numbered_folder(place / "policies", version))
        for version in training.versions
        if version <= newest
    )


def _save(place: Path, version: int, learner: Learner, checkpointer: Checkpointer) -> None:
    """The policy for good, then what training goes on from: a kill between them loses nothing."""
    digest = learner.digests()["parameters"]
    policy = numbered_folder(place / "policies", version)
    with commit_folder(policy, extra={"digest": digest}) as inside:
        learner.export_policy(inside)
    checkpointer.save(version, learner=learner, state={})


def _stop_if_diverged(training: Training, skipped: int) -> None:
    if skipped >= MAX_SKIPPED:
        raise TrainingStopped(
            f"training {training.name}: {skipped} updates in a row were not finite and were "
            "skipped; lower learner.learning_rate"
        )


def _row(update: int, stats: UpdateStats) -> dict[str, Any]:
    fields = asdict(stats)
    names = ("loss", "grad_norm", "learning_rate", "num_tokens", "skipped")
    return {"update": update} | {name: fields[name] for name in names}


def _updates(place: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in jsonl.read_lines(place / "updates.jsonl")]
