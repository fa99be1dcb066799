"""Which problems are held out, and seeded, resumable draws of the others.

Both depend on content and seed alone, never on the order of rows: shuffling a file changes
neither the split nor a single draw.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlreason.errors import CheckpointError, DataError
from rlreason.types import Problem


def split_key(problem: Problem) -> str:
    """What problems share that must not be separated: ``metadata["split_key"]``, else the prompt.

    White space does not count in a text prompt: copies that differ in it are the same problem.
    """
    if "split_key" in problem.metadata:
        return str(problem.metadata["split_key"])
    if isinstance(problem.prompt, str):
        return " ".join(problem.prompt.split())
    return json.dumps(problem.prompt, sort_keys=True)


def split_rank(key: str) -> bytes:
    """Where a split key stands in the order in which keys are held out: its SHA-256.

    The first 8 bytes over 2^64 are a uniform number, so data that left out all keys below a
    fraction f of it has seen no problem that is held out from a pool whose lowest f suffice.
    """
    return hashlib.sha256(key.encode()).digest()


def split_held_out(
    problems: Sequence[Problem], held_out: int
) -> tuple[list[Problem], list[Problem]]:
    """Divide the problems of a pool into (train, held out).

    Split keys are taken in the order of ``split_rank`` until at least ``held_out`` problems are
    there; all problems of a key are on one side. Both lists come in that order.

    Raises:
        DataError: If there are not enough problems for it, or none would be left to train on.
    """
    by_key: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_key[split_key(problem)].append(problem)
    train: list[Problem] = []
    kept: list[Problem] = []
    for key in sorted(by_key, key=split_rank):
        side = kept if len(kept) < held_out else train
        side.extend(sorted(by_key[key], key=lambda problem: problem.id))
    if not train:
        pool = problems[0].pool if problems else "?"
        raise DataError(
            f"pool {pool!r}: held_out = {held_out} leaves nothing to train on: it has "
            f"{len(problems)} problems under {len(by_key)} split keys, and those of one key stay "
            "together; lower held_out or add problems"
        )
    return train, kept


class Pools:
    """Draws training problems; keeps protocols.ProblemPools.

    The pool of every slot is drawn by the weights, independently of the other slots, from a
    generator that depends on seed and step alone. Inside a pool problems come either uniformly
    with replacement, or each once per pass in an order seeded by (seed, pool, pass).
    """

    def __init__(
        self, train: Mapping[str, Sequence[Problem]], *, seed: int, replacement: bool
    ) -> None:
        empty = [name for name, problems in train.items() if not problems]
        if empty or not train:
            raise DataError(f"pools without a training problem: {empty or 'there is no pool'}")
        self._train = {name: tuple(problems) for name, problems in train.items()}
        self._seed = seed
        self._replacement = replacement
        self._num_drawn = dict.fromkeys(self._train, 0)
        self._digests: dict[str, str] = {}
        """Pool -> digest of its ids, made at the first ``state_dict``."""
        self._orders: dict[str, tuple[int, list[int]]] = {}
        """Pool -> (pass, order of that pass), remembered so that it is made once."""

    @property
    def sizes(self) -> dict[str, int]:
        """Training problems per pool, in the order of the recipe."""
        return {name: len(problems) for name, problems in self._train.items()}

    @property
    def num_drawn(self) -> dict[str, int]:
        """Problems drawn so far per pool."""
        return dict(self._num_drawn)

    def reuse(self) -> dict[str, float]:
        """Passes over each pool so far: problems drawn over problems there are."""
        return {name: self._num_drawn[name] / size for name, size in self.sizes.items()}

    def draw(
        self, step: int, count: int, weights: Mapping[str, float], *, refill: int = 0
    ) -> list[Problem]:
        """Draw ``count`` problems of ``step``; ``refill`` counts the draws before in this step.

        Raises:
            KeyError: If the weights name other pools than there are.
            ValueError: If a weight is negative or they do not sum to 1.
        """
        bounds = np.cumsum(self._checked(weights))
        # The first draw is named as in a step that has no other, so refill changes none of them.
        generator = _generator(self._seed, "step", step, *([refill] if refill else []))
        # Divided by the last so that it is exactly 1, which a number below 1 never reaches.
        chosen = np.searchsorted(bounds / bounds[-1], generator.random(count), side="right")
        positions = generator.random(count)
        names = list(self._train)
        return [
            self._take(names[index], position)
            for index, position in zip(chosen.tolist(), positions.tolist(), strict=True)
        ]

    def _take(self, name: str, position: float) -> Problem:
        problems = self._train[name]
        epoch, offset = divmod(self._num_drawn[name], len(problems))
        self._num_drawn[name] += 1
        if self._replacement:
            return problems[int(position * len(problems))]
        return problems[self._order(name, epoch)[offset]]

    def _order(self, name: str, epoch: int) -> list[int]:
        known = self._orders.get(name)
        if known is None or known[0] != epoch:
            generator = _generator(self._seed, "pool", name, epoch)
            # Sorting plain uniforms: numpy keeps these stable across versions, its shuffles not.
            order = np.argsort(generator.random(len(self._train[name])), kind="stable").tolist()
            known = self._orders[name] = (epoch, order)
        return known[1]

    def _checked(self, weights: Mapping[str, float]) -> list[float]:
        unknown = sorted(set(weights) - set(self._train))
        absent = sorted(set(self._train) - set(weights))
        if unknown or absent:
            raise KeyError(
                f"weights over other pools than there are: unknown {unknown}, missing {absent}"
            )
        values = [float(weights[name]) for name in self._train]
        total = math.fsum(values)
        if not all(value >= 0 for value in values) or not abs(total - 1) <= 1e-9:
            raise ValueError(
                f"weights must be >= 0 and sum to 1, got {dict(weights)!r:.300} with sum {total!r}"
            )
        return values

    def _ids(self, name: str) -> str:
        """Digest of the ids of a pool's problems; a run with ``rollout.lag`` asks at every step."""
        if name not in self._digests:
            ids = json.dumps([problem.id for problem in self._train[name]])
            self._digests[name] = hashlib.sha256(ids.encode()).hexdigest()[:16]
        return self._digests[name]

    def state_dict(self) -> dict[str, Any]:
        """Cursors, with what they are cursors of."""
        pools = {}
        for name, problems in self._train.items():
            epoch, position = divmod(self._num_drawn[name], len(problems))
            pools[name] = {
                "size": len(problems),
                "ids": self._ids(name),
                "epoch": epoch,
                "position": position,
            }
        return {"seed": self._seed, "replacement": self._replacement, "pools": pools}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``.

        Raises:
            CheckpointError: If it is of other pools, other problems, or another way of drawing:
                the continuation would be another run under the same name.
        """
        differences = [*self._other_settings(state), *self._other_pools(state["pools"])]
        if differences:
            raise CheckpointError(
                f"the checkpoint was drawn from other problems: {'; '.join(differences)}; "
                "restore them, set run.on_pool_change = adapt where whole pools changed, or start "
                "anew with --fresh"
            )
        for name, cursor in state["pools"].items():
            self._num_drawn[name] = cursor["epoch"] * cursor["size"] + cursor["position"]

    def _other_settings(self, state: Mapping[str, Any]) -> list[str]:
        mine = {"seed": self._seed, "replacement": self._replacement}
        return [
            f"{name} was {state[name]}, is {value}"
            for name, value in mine.items()
            if state[name] != value
        ]

    def _other_pools(self, saved: Mapping[str, Any]) -> list[str]:
        differences = [f"pool {name!r} is gone" for name in saved if name not in self._train]
        for name, problems in self._train.items():
            if name not in saved:
                differences.append(f"pool {name!r} is new")
            elif saved[name]["size"] != len(problems):
                sizes = f"had {saved[name]['size']} training problems, has {len(problems)}"
                differences.append(f"pool {name!r} {sizes}")
            elif saved[name]["ids"] != self._ids(name):
                differences.append(f"pool {name!r} has other problems, though as many")
        return differences


def _generator(*names: object) -> np.random.Generator:
    """A generator of its own for whatever ``names`` name; neighbours are independent."""
    text = json.dumps(names)  # quoted, so that no two lists of names spell the same text
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest())
    return np.random.Generator(np.random.PCG64(seed))
