"""One step off-policy with fakes: order, versions, overlap, proof and correction.

An exact continuation is shown in test_lag_resume.py.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chain_world import resumed
from fake_world import World, make_run

from rlreason.config import GrpoConfig
from rlreason.errors import StalePolicyError
from rlreason.journal import Journal
from rlreason.run import Run
from rlreason.trainer import train
from rlreason.types import RolloutGroup

LAG: dict[str, Any] = {"rollout": {"lag": 1}}
RAY: dict[str, Any] = {"cluster": {"backend": "ray"}}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def config(**sections: dict[str, Any]) -> GrpoConfig:
    return GrpoConfig.model_validate(
        {
            "model": {"path": "unused"},
            "pools": [{"name": "pool", "source": "unused:Unused", "reward": "unused:Unused"}],
        }
        | sections
    )


def test_each_step_is_sampled_while_the_one_before_is_learned(tmp_path: Path) -> None:
    world = World()
    train(make_run(world, tmp_path, steps=3, **LAG))
    assert world.calls == [
        "draw 0", "probe 0: 4", "check 0", "generate 0 from 0", "score", "observe 2",
        "draw 1", "generate 1 from 0", "score",
        "learn 0", "publish 1", "observe 2",
        "draw 2", "probe 1: 4", "check 1", "generate 2 from 1", "score",
        "learn 1", "publish 2", "save", "observe 2",
        "learn 2", "publish 3", "save",
    ]  # fmt: skip


def test_the_versions_of_four_steps_by_hand(tmp_path: Path) -> None:
    # Step 0 has nothing to run beside, so it is of version 0; version 1 is not there while step 1
    # is sampled, so that is of version 0 too; from then on one behind. Each draw knows all steps
    # before it.
    world, run = resumed(tmp_path, 4, **LAG)
    train(run)
    assert world.sampled_from == {0: 0, 1: 0, 2: 1, 3: 2}
    assert world.drawn_after == {0: 0, 1: 1, 2: 2, 3: 3}
    told = rows(tmp_path)
    assert [row["policy_version"] for row in told] == [0, 0, 1, 2]
    assert [row["ahead"]["policy_lag"] for row in told] == [0, 1, 1, 1]
    journal = Journal(tmp_path / "steps")
    entries = [journal.read(step) for step in range(4)]
    assert [entry and entry.policy_version for entry in entries] == [0, 0, 1, 2]


class Meeting(World):
    """Step 1 is sampled only while step 0 is learned, which takes until step 1 is journaled."""

    def __init__(self) -> None:
        super().__init__()
        self.learning, self.journaled = threading.Event(), threading.Event()

    def watched(self, run: Run) -> Run:
        """``run``, whose journal says when it has step 1."""
        commit = run.journal.commit

        def committed(step: int, **given: Any) -> None:
            commit(step, **given)
            if step == 1:
                self.journaled.set()

        run.journal.commit = committed  # type: ignore[method-assign, assignment]
        return run

    def generate(self, problems: Any, *, step: int, **given: Any) -> Iterator[RolloutGroup]:
        if step == 1:
            assert self.learning.wait(20), "step 0 was not learned meanwhile"
        return super().generate(problems, step=step, **given)

    def update(self, batches: Any, *, step: int, **given: Any) -> Any:
        if step == 0:
            self.learning.set()
            assert self.journaled.wait(20), "step 1 was not sampled meanwhile"
        return super().update(batches, step=step, **given)


def test_under_ray_the_engine_samples_before_the_learner_has_finished(tmp_path: Path) -> None:
    world = Meeting()
    train(world.watched(make_run(world, tmp_path, steps=2, **LAG, **RAY)))
    first, second = (row["ahead"] for row in rows(tmp_path))
    assert {"rollout", "score", "journal"} <= first["phase_s"].keys()
    assert first["hidden_s"] > 0
    assert second["phase_s"] == {}  # nothing comes after the last step
    assert "rollout" not in rows(tmp_path)[1]["phase_s"]
    assert rows(tmp_path)[1]["rollout_tokens_per_s"] > 0


class Slow(World):
    """Labels a completion when it ends, which is after the learner is done if nothing waits."""

    def generate(self, problems: Any, **given: Any) -> Iterator[RolloutGroup]:
        for group in super().generate(problems, **given):
            threading.Event().wait(0.02)
            labelled = (replace(one, policy_version=self.policy_version) for one in group.rollouts)
            yield replace(group, rollouts=tuple(labelled))


def test_weights_are_published_when_the_sampling_under_way_has_ended(tmp_path: Path) -> None:
    world = Slow()
    train(make_run(world, tmp_path, steps=4, **LAG, **RAY))
    assert [row["policy_version"] for row in rows(tmp_path)] == [0, 0, 1, 2]


def test_what_fails_beside_the_learner_stops_the_run_before_it_publishes(tmp_path: Path) -> None:
    class Failing(World):
        def generate(self, problems: Any, *, step: int, **given: Any) -> Iterator[RolloutGroup]:
            if step == 2:
                raise StalePolicyError("the engine is gone")
            return super().generate(problems, step=step, **given)

    world = Failing()
    with pytest.raises(StalePolicyError, match="the engine is gone"):
        train(make_run(world, tmp_path, steps=3, **LAG, **RAY))
    assert "learn 1" in world.calls
    assert "publish 2" not in world.calls


def test_a_lost_learner_does_not_lose_the_step_that_is_being_sampled(tmp_path: Path) -> None:
    class Losing(Slow):
        def update(self, batches: Any, **given: Any) -> Any:
            raise RuntimeError("rank 1 died")

    world = Losing()
    with pytest.raises(RuntimeError, match="rank 1 died"):
        train(make_run(world, tmp_path, steps=3, **LAG, **RAY))
    assert Journal(tmp_path / "steps").last_step() == 1


def test_a_version_that_did_not_arrive_is_seen_before_anything_is_sampled_from_it(
    tmp_path: Path,
) -> None:
    deaf = World()
    deaf.publish = lambda version: None  # type: ignore[method-assign]
    with pytest.raises(StalePolicyError, match=r"version 1 was published.*reports \[0\]"):
        train(make_run(deaf, tmp_path / "label", steps=3, **LAG))
    assert "learn 1" not in deaf.calls

    class Lying(World):
        def check_sampler(self, sequences: Any, *, version: int) -> float:
            if version == 1:
                raise StalePolicyError("gap")
            return super().check_sampler(sequences, version=version)

    lying = Lying()
    with pytest.raises(StalePolicyError, match="gap"):
        train(make_run(lying, tmp_path / "gap", steps=3, **LAG))
    assert "learn 1" not in lying.calls
    assert Journal(tmp_path / "gap" / "steps").last_step() == 1  # both of version 0


def test_the_proof_is_in_the_log_once_for_each_version_sampled_from(tmp_path: Path) -> None:
    train(make_run(World(), tmp_path, steps=4, **LAG))
    assert [row["ahead"]["sampler_gap"] for row in rows(tmp_path)] == [1e-7, 1e-7, 1e-7, None]


def test_importance_correction_is_on_unless_another_is_named() -> None:
    def corrected(**algorithm: Any) -> tuple[str | None, float | None]:
        section = config(rollout={"lag": 1}, algorithm=algorithm).algorithm
        return section.correction, section.importance_cap

    assert corrected() == ("token_truncated", 2.0)
    assert corrected(kl=0.1) == ("token_truncated", 2.0)
    own: dict[str, Any] = {"correction": "sequence_masked", "importance_cap": 3.0}
    assert corrected(**own) == ("sequence_masked", 3.0)
    assert corrected(correction=None) == (None, None)
    assert corrected(loss="likelihood", advantage="accepted") == (None, None)
    assert config().algorithm.correction is None


def test_a_run_without_correction_or_overlap_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    algorithm = {"correction": None}
    with caplog.at_level(logging.WARNING):
        train(make_run(World(), tmp_path, steps=1, algorithm=algorithm, **LAG))
    assert "nothing corrects for the sampler" in caplog.text
    assert "backend = ray overlaps the two" in caplog.text


@pytest.mark.parametrize("moving", [{"kl_control": {"target": 0.1}}, {"reference_every": 2}])
def test_a_reward_that_hangs_on_the_update_under_way_is_refused(moving: dict[str, Any]) -> None:
    algorithm = {"kl": 0.1, "kl_in": "reward_sum", "advantage": "centered"} | moving
    assert config(algorithm=algorithm).rollout.lag == 0
    with pytest.raises(ValueError, match=f"rollout.lag = 1 .*algorithm.{next(iter(moving))}"):
        config(algorithm=algorithm, rollout={"lag": 1})
