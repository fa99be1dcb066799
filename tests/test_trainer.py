"""The loop with fakes: the order of its phases, what it refuses, and how it resumes.

The fakes are plain classes that write down what was asked of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rlreason.alarms import Alarms
from rlreason.checkpoint import Checkpointer
from rlreason.config import GrpoConfig
from rlreason.errors import CheckpointError, StalePolicyError, TrainingStopped
from rlreason.journal import Journal
from rlreason.recorder import Recorder
from rlreason.trainer import Run, train
from rlreason.types import Problem, Rollout, RolloutGroup, Score, ScoredGroup, UpdateStats

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

    # curriculum
    def weights(self) -> dict[str, float]:
        return {"pool": 1.0}

    def metrics(self) -> dict[str, dict[str, float]]:
        return {"pool": {"weight": 1.0}}

    def observe(self, groups: Sequence[ScoredGroup]) -> None:
        self.calls.append(f"observe {len(groups)}")
        self.observed += len(groups)

    # pools and curriculum share their state here: both count
    def state_dict(self) -> dict[str, Any]:
        return {"observed": self.observed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.observed = state["observed"]

    def draw(self, step: int, count: int, weights: Mapping[str, float]) -> list[Problem]:
        self.calls.append(f"draw {step}")
        names = [f"{step}-{slot + self.shift_problems}" for slot in range(count)]
        return [Problem(id=name, pool="pool", prompt="p", answer="1") for name in names]

    # engine
    def generate(self, problems: Sequence[Problem], *, step: int) -> Iterator[RolloutGroup]:
        self.calls.append(f"generate {step} from {self.policy_version}")
        for slot, problem in reversed(list(enumerate(problems))):  # they finish in any order
            rollout = Rollout(
                prompt_ids=(1,),
                completion_ids=(2, 3),
                completion="x",
                rollout_logprobs=(-0.1, -0.2),
                finish_reason="stop",
                policy_version=self.policy_version,
            )
            yield RolloutGroup(problem=problem, slot=slot, rollouts=(rollout, rollout))

    # scorer
    def score(self, groups: Iterator[RolloutGroup]) -> list[tuple[RolloutGroup, tuple[Score, ...]]]:
        scores = tuple(Score(value=value) for value in self.values)
        pairs = sorted(((group, scores) for group in groups), key=lambda pair: pair[0].slot)
        self.calls.append("score")
        return pairs

    # learner
    def update(self, batches: Sequence[Any], *, step: int) -> UpdateStats:
        self.calls.append(f"learn {step}")
        self.learned += 0 if self.skip else 1
        return dataclasses.replace(STATS, skipped=self.skip)

    def export_policy(self, folder: Path) -> None:
        (folder / "weights").write_text(str(self.learned))

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


def make_run(world: World, folder: Path, steps: int = 3, start: int = 0) -> Run:
    config = GrpoConfig.model_validate(
        {
            "run": {"steps": steps, "checkpoint_every": 2},
            "model": {"path": "unused"},
            "pools": [{"name": "pool", "source": "unused:Unused", "reward": "unused:Unused"}],
            "rollout": {"problems_per_step": 2, "group_size": 2},
        }
    )
    for name in ("steps", "checkpoints"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    fakes: Any = world
    return Run(
        config=config,
        start_step=start,
        pools=fakes,
        curriculum=fakes,
        engine=fakes,
        scorer=fakes,
        bounds={"pool": (0.0, 1.0)},
        learner=fakes,
        publisher=fakes,
        journal=Journal(folder / "steps"),
        checkpointer=Checkpointer(folder / "checkpoints", keep=2),
        evaluator=None,
        recorder=Recorder(folder, sinks=[], display=fakes, alarms=Alarms()),
    )


def num_rows(folder: Path) -> int:
    return len((folder / "metrics.jsonl").read_text().splitlines())


def test_the_phases_come_in_order_and_each_step_samples_what_the_last_one_published(
    tmp_path: Path,
) -> None:
    world = World()
    train(make_run(world, tmp_path, steps=2))
    assert world.calls == [
        "draw 0",
        "generate 0 from 0",
        "score",
        "observe 2",
        "learn 0",
        "publish 1",
        "draw 1",
        "generate 1 from 1",
        "score",
        "observe 2",
        "learn 1",
        "publish 2",
        "save",
    ]
    assert num_rows(tmp_path) == 2


def test_a_step_without_signal_is_observed_and_recorded_but_not_learned(tmp_path: Path) -> None:
    world = World(values=(1.0, 1.0))
    train(make_run(world, tmp_path, steps=1))
    assert "observe 2" in world.calls
    assert "learn 0" not in world.calls
    assert num_rows(tmp_path) == 1


def test_a_sample_of_another_version_is_refused_before_it_is_learned(tmp_path: Path) -> None:
    world = World()
    world.publish = lambda version: None  # type: ignore[method-assign]
    with pytest.raises(StalePolicyError, match=r"step 1 samples from policy version 1.*\[0\]"):
        train(make_run(world, tmp_path))
    assert "learn 1" not in world.calls
    assert Journal(tmp_path / "steps").last_step() == 0


def test_a_journaled_step_is_learned_again_but_not_sampled_again(tmp_path: Path) -> None:
    first = World()
    first.publish = _fail_at(first, version=2)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        train(make_run(first, tmp_path))
    again = World()
    train(make_run(again, tmp_path))
    generated = [call for call in again.calls if call.startswith("generate")]
    assert generated == ["generate 2 from 2"]
    learned = [call for call in again.calls if call.startswith("learn")]
    assert learned == ["learn 0", "learn 1", "learn 2"]
    assert (again.learned, again.observed) == (3, 6)
    assert num_rows(tmp_path) == 3


def _fail_at(world: World, version: int) -> Any:
    def publish(*, version_: int = version, **given: int) -> None:
        if given["version"] == version_:
            raise RuntimeError("killed")
        world.policy_version = given["version"]

    return publish


def test_a_journal_of_other_problems_is_refused(tmp_path: Path) -> None:
    train(make_run(World(), tmp_path, steps=1))
    world = World()
    world.shift_problems = 1
    with pytest.raises(CheckpointError, match="journal of step 0"):
        train(make_run(world, tmp_path, steps=1))


def test_three_skipped_updates_in_a_row_stop_the_run(tmp_path: Path) -> None:
    world = World()
    world.skip = True
    with pytest.raises(TrainingStopped, match="3 updates in a row"):
        train(make_run(world, tmp_path, steps=9))
    assert num_rows(tmp_path) == 3


def test_checkpoints_come_at_the_interval_and_at_the_end(tmp_path: Path) -> None:
    train(make_run(World(), tmp_path, steps=5))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["000004", "000005"]


def test_infra_faults_are_masked_from_the_group(tmp_path: Path) -> None:
    world = World()
    scores = (Score(value=0.0, outcome="infra"), Score(value=1.0))

    def score(groups: Iterator[RolloutGroup]) -> Any:
        return sorted(((group, scores) for group in groups), key=lambda pair: pair[0].slot)

    world.score = score  # type: ignore[method-assign, assignment]
    train(make_run(world, tmp_path, steps=1))
    assert "learn 0" not in world.calls  # one known reward has nothing to be compared with
