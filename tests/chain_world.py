"""A world in which every number hangs on all that came before it, as in a real run.

The learner's weights are a hash of all that it learned. The engine samples tokens that are a hash
of the weights it was given, the step and the problem; scores and pool weights follow from them. A
step that was drawn, sampled or learned otherwise than in another run leaves other weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fake_world import World, make_run

from rlreason.checkpoint import Checkpointer
from rlreason.run import Run
from rlreason.types import (
    Coefficients,
    Problem,
    Rollout,
    RolloutGroup,
    Score,
    ScoredGroup,
    TrainBatch,
    UpdateStats,
)


def mixed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6])


class ChainWorld(World):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self.weights_now = 0
        self.engine_weights = 0
        self.curriculum = 0
        self.sampled_from: dict[int, int] = {}
        """Step -> version that its completions bear."""
        self.drawn_after: dict[int, int] = {}
        """Step -> steps that the curriculum had observed when it was drawn."""
        self.steps_observed = 0

    def draw(
        self, step: int, count: int, weights: Mapping[str, float], *, refill: int = 0
    ) -> list[Problem]:
        self.drawn_after[step] = self.steps_observed
        problems = super().draw(step, count, weights, refill=refill)
        name = mixed(self.curriculum, self.cursor)
        return [
            Problem(id=f"{problem.id}-{name}", pool="pool", prompt="p", answer="1")
            for problem in problems
        ]

    def generate(
        self,
        problems: Sequence[Problem],
        *,
        step: int,
        first_slot: int = 0,
        with_greedy: bool = False,
    ) -> Iterator[RolloutGroup]:
        self.sampled_from[step] = self.policy_version
        for group in super().generate(
            problems, step=step, first_slot=first_slot, with_greedy=with_greedy
        ):
            rollouts = tuple(
                self._rollout(step, group.problem, sample, group.greedy)
                for sample in range(len(group.rollouts))
            )
            yield RolloutGroup(
                problem=group.problem, slot=group.slot, rollouts=rollouts, greedy=group.greedy
            )

    def _rollout(self, step: int, problem: Problem, sample: int, greedy: bool) -> Rollout:
        token = mixed(self.engine_weights, step, problem.id, sample, greedy) % 1000
        return Rollout(
            prompt_ids=(1,),
            completion_ids=(token, 3),
            completion="x",
            rollout_logprobs=(-0.1, -0.2),
            finish_reason="stop",
            policy_version=self.policy_version,
        )

    def scores_of(self, group: RolloutGroup) -> tuple[Score, ...]:
        return tuple(Score(value=float(one.completion_ids[0] % 2)) for one in group.rollouts)

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        super().observe(groups)
        self.steps_observed += 1
        self.curriculum = mixed(self.curriculum, groups)

    def update(
        self,
        batches: Sequence[TrainBatch],
        *,
        step: int,
        coefficients: Coefficients | None = None,
    ) -> UpdateStats:
        self.weights_now = mixed(self.weights_now, step, batches, coefficients)
        return super().update(batches, step=step, coefficients=coefficients)

    def publish(self, version: int) -> None:
        super().publish(version)
        self.engine_weights = self.weights_now

    def state_dict(self) -> dict[str, Any]:
        return {"curriculum": self.curriculum, "cursor": self.cursor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.curriculum, self.cursor = state["curriculum"], state["cursor"]

    def save(self, folder: Path) -> None:
        (folder / "state").write_text(str(self.weights_now))

    def load(self, folder: Path) -> None:
        self.weights_now = self.engine_weights = int((folder / "state").read_text())

    def digests(self) -> dict[str, str]:
        return {"parameters": str(self.weights_now), "optimizer": ""}


def resumed(folder: Path, steps: int, **sections: dict[str, Any]) -> tuple[ChainWorld, Run]:
    """A run as build.py would open it: from the newest checkpoint, or from nothing."""
    world = ChainWorld()
    folder.mkdir(parents=True, exist_ok=True)
    checkpointer = Checkpointer(folder / "checkpoints", keep=2)
    checkpoint = checkpointer.newest() if (folder / "checkpoints").exists() else None
    start = checkpoint.version if checkpoint else 0
    run = make_run(world, folder, steps, start, **sections)
    if checkpoint:
        world.load_state_dict(
            {**checkpoint.part("curriculum"), "cursor": checkpoint.part("pools")["cursor"]}
        )
        run.draws.load_state_dict(checkpoint.part("draws"))
        run.controls.load_state_dict(checkpoint.part("controls"))
        checkpointer.load_into(checkpoint, run.learner)
        world.policy_version = start
        world.steps_observed = start
    return world, run
