"""Ray, and parts of a run in it that are fakes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray_fakes
from ray_fakes import DEADLINES, IMPATIENT

from rlreason.cluster.deaths import Deaths
from rlreason.config import ClusterSection, DeadlineSection, GrpoConfig

ROOT = Path(__file__).parents[2]
CONFIG = GrpoConfig.model_validate(
    {
        "model": {"path": "unused"},
        "pools": [{"name": "fake", "source": "unused", "reward": "unused:Unused"}],
        "rollout": {"group_size": 2},
    }
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Any, Any]]:
    """The connected module, and the places of two ranks and two engines."""
    from rlreason.cluster.ray_cluster import open_cluster, reserve

    section = ClusterSection(backend="ray", learners=2, engines=2, deadlines=DEADLINES)
    before = dict(os.environ)
    path = [str(Path(__file__).parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    with open_cluster(section, weight_bytes=1):
        pass  # a lost rank closes the cluster, and opens another in the same process
    with open_cluster(section, weight_bytes=1) as ray:
        yield ray, reserve(ray, section)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def start_fleet(cluster: tuple[Any, Any], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    from rlreason.cluster.ray_engines import EngineFleet, FleetPlan
    from rlreason.cluster.ray_host import Member
    from rlreason.cluster.ray_seat import EngineSeat
    from rlreason.rollout.requests import RequestMaker

    ray, places = cluster
    fleets = []

    def seat(index: int) -> EngineSeat:
        bundle = places.engine_bundles[index]
        member = Member(ray, f"engine {index}", places, bundle, gpus=0, logs=tmp_path)
        made = member.make(ray_fakes.make_engine, tmp_path)
        return EngineSeat(member, made, start_s=DEADLINES.start_s)

    def start(
        *,
        at_once: int = 100,
        deaths: Deaths | None = None,
        replaces: bool = True,
        deadlines: DeadlineSection = DEADLINES,
    ) -> EngineFleet:
        plan = FleetPlan(2, at_once, fixed=False, deadlines=deadlines, replaces=replaces)
        fleet = EngineFleet(
            ray,
            seat,
            RequestMaker(CONFIG),
            plan,
            version=0,
            deaths=deaths or Deaths(),
            load=ray_fakes.load,
        )
        fleets.append(fleet)
        fleet.await_answers()
        return fleet

    yield start
    for fleet in fleets:
        fleet.close()


@pytest.fixture
def start_ranks(cluster: tuple[Any, Any], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    from rlreason.cluster.ray_host import Member
    from rlreason.cluster.ray_learner import RankedLearner, make_ranks

    ray, places = cluster
    started = []

    def start(**told: int) -> RankedLearner:
        members = [
            Member(ray, f"learner rank {rank}", places, bundle, gpus=0, logs=tmp_path)
            for rank, bundle in enumerate(places.rank_bundles)
        ]
        deadlines = IMPATIENT if "hangs_at" in told else DEADLINES
        learner = RankedLearner(ray, members, deadlines=deadlines, pack=ray_fakes.pack, unpack=list)
        started.append(learner)
        where = str(tmp_path)
        make_ranks(
            ray, members, ray_fakes.make_rank, told, meeting_folder=where, deadlines=deadlines
        )
        return learner

    yield start
    for learner in started:
        learner.kill()
