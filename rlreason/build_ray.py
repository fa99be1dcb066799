"""Learner ranks and engines under Ray: what ``cluster.backend = ray`` puts together."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlreason.build_parts import PartsPlan, make_engine, make_learner
from rlreason.cluster.deaths import Deaths
from rlreason.cluster.ray_cluster import Places, open_cluster, reserve
from rlreason.cluster.ray_engines import EngineFleet, FleetPlan, FleetPublisher
from rlreason.cluster.ray_host import Member
from rlreason.cluster.ray_learner import RankedLearner, make_ranks
from rlreason.cluster.ray_seat import EngineSeat
from rlreason.cluster.ray_transfer import RemoteEngines, TransferPublisher
from rlreason.config import ClusterSection
from rlreason.memory.shape import model_shape
from rlreason.protocols import Learner, RolloutEngine, WeightPublisher
from rlreason.turns import TurnTakingLearner

if TYPE_CHECKING:
    from rlreason.learner.deepspeed_learner import DeepSpeedLearner
    from rlreason.rollout.vllm_engine import VllmEngine
    from rlreason.weights.buckets import Bucket
    from rlreason.weights.transfer import WeightSender


def start_ray(
    plan: PartsPlan, stack: ExitStack, deaths: Deaths
) -> tuple[Learner, RolloutEngine, WeightPublisher]:
    """Start all parts at once and return when they are ready; ``stack`` ends them.

    Raises:
        ConfigError: If there is no cluster, or not enough of it.
        LearnerLostError, TrainingStopped: If parts die on the way.
    """
    from rlreason.weights.buckets import unpack

    section, logs = plan.config.cluster, _logs(plan)
    shape = model_shape(plan.model)
    weight_bytes = shape.parameters * shape.bytes_of(plan.config.model.dtype)
    ray = stack.enter_context(open_cluster(section, weight_bytes=weight_bytes))
    cut = plan.config.rollout.tensor_parallel
    places = reserve(ray, section, tensor_parallel=cut, had_gpus=deaths.had_gpus)
    deaths.had_gpus = places.rank_gpus > 0
    fleet = _start_engines(ray, places, plan, deaths)
    stack.callback(fleet.close)
    ranks = [
        Member(ray, f"learner rank {rank}", places, bundle, gpus=places.rank_gpus, logs=logs)
        for rank, bundle in enumerate(places.rank_bundles)
    ]
    learner = RankedLearner(
        ray, ranks, deadlines=section.deadlines, pack=pack_weights, unpack=unpack
    )
    stack.callback(learner.kill)
    fleet.before_replacing = learner.refuse_loss  # a lost node takes both
    meeting_folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rlr-ranks-"))
    make_ranks(
        ray, ranks, host_rank, plan, meeting_folder=meeting_folder, deadlines=section.deadlines
    )
    fleet.await_answers()
    publisher = _publisher(plan, learner, fleet)
    if plan.share and plan.share.sleeps and places.rank_gpus:
        return TurnTakingLearner(learner, fleet.sleep), fleet, publisher
    return learner, fleet, publisher


def _publisher(plan: PartsPlan, learner: RankedLearner, fleet: EngineFleet) -> WeightPublisher:
    """By ``cluster.weight_sync``; ranks and engines meet now where they must."""
    section = plan.config.cluster
    if section.weight_sync == "shared_memory":
        return FleetPublisher(learner, fleet)
    processes_each = plan.config.rollout.tensor_parallel
    address, port = learner.free_port()
    learner.meet_engines(
        host_sender,
        section,
        RemoteEngines(fleet.handles, processes_each=processes_each),
        (address, port, 1 + processes_each * section.engines),
    )
    return TransferPublisher(learner, fleet)


def _start_engines(ray: Any, places: Places, plan: PartsPlan, deaths: Deaths) -> EngineFleet:
    """Order the engines; they load while the caller goes on."""
    from rlreason.rollout.memory import concurrent_sequences
    from rlreason.rollout.requests import RequestMaker

    config, section, logs = plan.config, plan.config.cluster, _logs(plan)

    def seat(index: int) -> EngineSeat:
        bundle = places.engine_bundles[index]
        member = Member(ray, f"engine {index}", places, bundle, gpus=places.engine_gpus, logs=logs)
        made = member.make(host_engine, plan)
        return EngineSeat(member, made, start_s=section.deadlines.start_s)

    fleet_plan = FleetPlan(
        engines=section.engines,
        at_once=concurrent_sequences(config.rollout, engines=section.engines),
        fixed=section.deterministic if section.deterministic is not None else places.rank_gpus == 0,
        deadlines=section.deadlines,
        replaces=section.weight_sync == "shared_memory",
    )
    return EngineFleet(
        ray,
        seat,
        RequestMaker(config),
        fleet_plan,
        version=plan.version,
        deaths=deaths,
        load=load_buckets,
    )


def _logs(plan: PartsPlan) -> Path:
    return Path(plan.config.run.folder) / plan.config.run.name / "log"


def _stay_on_loopback(section: ClusterSection) -> None:
    """In a cluster of our own, which is one machine: bind nothing beyond its loopback.

    In one that was joined the engines may be elsewhere, though all ranks are here.
    """
    if section.address is None:
        os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


def host_rank(rank: int, ranks: int, meeting: str, plan: PartsPlan) -> DeepSpeedLearner:
    """In a rank's process: join the others and build the learner."""
    from rlreason.cluster.inline import RankPlace, prepare_process

    _stay_on_loopback(plan.config.cluster)
    if meeting.startswith("file:"):
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # gloo connects ranks alone, and they are all here
    prepare_process(plan.config.cluster, RankPlace(rank, ranks, meeting))
    return make_learner(plan)


def host_engine(plan: PartsPlan) -> VllmEngine:
    """In an engine's process: build the engine."""
    from rlreason.cluster.inline import prepare_process

    _stay_on_loopback(plan.config.cluster)
    setup = prepare_process(plan.config.cluster)
    return make_engine(plan, threads=setup.threads, seeded=setup.deterministic)


def host_sender(
    learner: DeepSpeedLearner,
    section: ClusterSection,
    engines: RemoteEngines,
    meeting: tuple[str, int, int],
) -> WeightSender:
    """In a rank's process: meet the engines, beside its learner."""
    from rlreason.rollout.environment import prepare_environment

    prepare_environment(section.threads or 1)
    from rlreason.weights.transfer import Meeting, WeightSender

    return WeightSender(learner, section.weight_sync, engines, Meeting(*meeting))


def pack_weights(learner: Any) -> Iterator[Bucket]:
    """On every rank: gather bucket by bucket; rank 0 alone gives them out."""
    from rlreason.weights.buckets import pack

    if learner.rank == 0:
        yield from pack(learner.named_tensors())
        return
    for _ in learner.named_tensors():
        pass


def load_buckets(engine: Any, version: int, *buckets: Bucket) -> int:
    """On an engine: load the weights; the version that it holds then."""
    from rlreason.weights.buckets import unpack

    engine.load_weights(unpack(buckets), version=version)
    held: int = engine.policy_version
    return held
