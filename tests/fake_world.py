"""The parts of a run as plain classes that write down what was asked of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlreason.alarms import Alarms
from rlreason.checkpoint import Checkpointer
from rlreason.config import GrpoConfig
from rlreason.controls import Controls
from rlreason.draw_history import DrawHistory
from rlreason.journal import Journal
from rlreason.recorder import Recorder
from rlreason.run import Run
from rlreason.types import (
    Coefficients,
    Outcome,
    Problem,
    Rollout,
    RolloutGroup,
    Score,
    ScoredGroup,
    TrainBatch,
    TrainSequence,
    UpdateStats,
)

STATS = UpdateStats(
    loss=0.1,
    grad_norm=1.0,
    learning_rate=1e-3,
    entropy=1.0,
    clip_frac=0.0,
    mismatch_kl=0.0,
    mismatch_abs=1e-7,
    kl=0.0,
    num_tokens=10,
    padding_frac=0.0,
    skipped=False,
)


class World:
    """All fakes of a run in one, so that the order of calls between them is one list."""

    def __init__(self, values: Sequence[float] = (0.0, 1.0)) -> None:
        self.calls: list[str] = []
        self.policy_version = 0
        self.values = values
        self.learned = 0
        self.observed = 0
        self.skip = False
        self.shift_problems = 0
        self.useless: set[str] = set()
        """Problems whose completions all score alike."""
        self.slots: list[int] = []
        self.batches: list[TrainBatch] = []
        self.coefficients: list[Coefficients | None] = []
        self.stats = STATS
        self.reference = 0
        """How far the reference has come: updates it has learned."""
        self.cursor = 0
        self.gap = 1e-7
        """Between engine and learner on equal weights."""

    # curriculum
    def weights(self) -> dict[str, float]:
        return {"pool": 1.0}

    def metrics(self) -> dict[str, dict[str, float]]:
        return {"pool": {}}

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        self.calls.append(f"observe {len(groups)}")
        self.observed += len(groups)

    # pools and curriculum share their state here: both count
    def state_dict(self) -> dict[str, Any]:
        return {"observed": self.observed, "cursor": self.cursor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.observed, self.cursor = state["observed"], state["cursor"]

    def draw(
        self, step: int, count: int, weights: Mapping[str, float], *, refill: int = 0
    ) -> list[Problem]:
        self.calls.append(f"draw {step}" + (f" refill {refill}: {count}" if refill else ""))
        self.cursor += count
        parts = [str(step)] + ([f"r{refill}"] if refill else [])
        names = ["-".join([*parts, str(slot + self.shift_problems)]) for slot in range(count)]
        return [Problem(id=name, pool="pool", prompt="p", answer="1") for name in names]

    # engine
    def generate(
        self,
        problems: Sequence[Problem],
        *,
        step: int,
        first_slot: int = 0,
        with_greedy: bool = False,
    ) -> Iterator[RolloutGroup]:
        self.calls.append(f"generate {step} from {self.policy_version}")
        rollout = Rollout(
            prompt_ids=(1,),
            completion_ids=(2, 3),
            completion="x",
            rollout_logprobs=(-0.1, -0.2),
            finish_reason="stop",
            policy_version=self.policy_version,
        )
        numbered = list(enumerate(problems, start=first_slot))
        for slot, problem in reversed(numbered):  # they finish in any order
            self.slots.append(slot)
            if with_greedy:
                yield RolloutGroup(problem=problem, slot=slot, rollouts=(rollout,), greedy=True)
            yield RolloutGroup(problem=problem, slot=slot, rollouts=(rollout, rollout))

    def probe(
        self, problems: Sequence[Problem], *, version: int, tokens: int
    ) -> Iterator[RolloutGroup]:
        self.calls.append(f"probe {version}: {len(problems)}")
        rollout = Rollout(
            prompt_ids=(1,),
            completion_ids=(2,),
            completion="x",
            rollout_logprobs=(-0.1,),
            finish_reason="length",
            policy_version=self.policy_version,
        )
        for slot, problem in enumerate(problems):
            yield RolloutGroup(problem=problem, slot=slot, rollouts=(rollout,))

    # scorer
    def score(self, groups: Iterator[RolloutGroup]) -> list[tuple[RolloutGroup, tuple[Score, ...]]]:
        pairs = [(group, self.scores_of(group)) for group in groups]
        self.calls.append("score")
        return sorted(pairs, key=lambda pair: pair[0].slot)

    def scores_of(self, group: RolloutGroup) -> tuple[Score, ...]:
        values = [0.25] if group.greedy else self.values
        if group.problem.id in self.useless:
            values = [self.values[0]] * len(values)
        return tuple(Score(value=value) for value in values)

    # learner
    def update(
        self,
        batches: Sequence[TrainBatch],
        *,
        step: int,
        coefficients: Coefficients | None = None,
    ) -> UpdateStats:
        self.calls.append(f"learn {step}")
        self.batches += batches
        self.coefficients.append(coefficients)
        self.learned += 0 if self.skip else 1
        return dataclasses.replace(self.stats, skipped=self.skip)

    def reference_logprobs(self, sequences: Sequence[TrainSequence]) -> list[tuple[float, ...]]:
        """The first of two completions is as the policy has it, the second 0.5 nats below."""
        self.calls.append("reference")
        return [(-0.1, -0.2) if i % 2 == 0 else (-0.35, -0.45) for i in range(len(sequences))]

    def check_sampler(self, sequences: Sequence[TrainSequence], *, version: int) -> float:
        self.calls.append(f"check {version}")
        return self.gap

    def refresh_reference(self) -> None:
        self.calls.append(f"reference is {self.learned}")
        self.reference = self.learned

    def export_policy(self, folder: Path) -> None:
        (folder / "weights").write_text(str(self.learned))

    def export_adapter(self, folder: Path) -> None: ...

    def save(self, folder: Path) -> None:
        self.calls.append("save")
        (folder / "state").write_text(str(self.learned))

    def load(self, folder: Path) -> None:
        self.learned = int((folder / "state").read_text())

    def digests(self) -> dict[str, str]:
        return {"parameters": str(self.learned), "optimizer": ""}

    # publisher
    def publish(self, version: int) -> None:
        self.calls.append(f"publish {version}")
        self.policy_version = version

    # display
    def start(self, total: int, first: int) -> None: ...
    def step(self, metrics: object) -> None: ...
    def message(self, text: str) -> None: ...
    def close(self) -> None: ...


def make_run(
    world: World, folder: Path, steps: int = 3, start: int = 0, **sections: dict[str, Any]
) -> Run:
    """A run of the fakes; ``sections`` add to the recipe's."""
    rollout = {"problems_per_step": 2, "group_size": 2} | sections.pop("rollout", {})
    config = GrpoConfig.model_validate(
        {
            "run": {"steps": steps, "checkpoint_every": 2},
            "model": {"path": "unused"},
            "pools": [{"name": "pool", "source": "unused:Unused", "reward": "unused:Unused"}],
            "rollout": rollout,
        }
        | sections
    )
    for name in ("steps", "checkpoints"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    fakes: Any = world
    return Run(
        config=config,
        start_step=start,
        pools=fakes,
        curriculum=fakes,
        draws=DrawHistory({"pool": 10}),
        engine=fakes,
        scorer=fakes,
        bounds={"pool": (0.0, 1.0)},
        controls=Controls(config.algorithm),
        learner=fakes,
        publisher=fakes,
        journal=Journal(folder / "steps"),
        checkpointer=Checkpointer(folder / "checkpoints", keep=2),
        evaluator=None,
        recorder=Recorder(folder, sinks=[], display=fakes, alarms=Alarms()),
    )


def make_score(value: float, outcome: Outcome = "ok", **parts: float) -> Score:
    return Score(value=value, outcome=outcome, parts=parts)
