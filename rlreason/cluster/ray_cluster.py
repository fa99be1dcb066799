"""A Ray cluster for one run: joined where one is named, else started on this machine alone.

One of our own listens on the loopback alone, takes nobody without its token, and ends with this
process, killed or not. A cluster that others started listens where they let it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rlreason.cluster.guard import guarded
from rlreason.config import ClusterSection
from rlreason.errors import ConfigError, TrainingStopped

log = logging.getLogger(__name__)

STORE_BYTES = 256 * 2**20
"""Shared memory beside the weights: batches and groups on their way."""
STORED_VERSIONS = 3
"""Of the weights; two may be on their way at once."""

STARTS = 3
"""How often to try to start Ray."""

POLL_S = 0.5
"""How often to look whether a node has joined."""

_TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class Places(NamedTuple):
    """Where every part goes: a placement group, and each part's bundle and GPU share."""

    group: Any
    rank_bundles: tuple[int, ...]
    engine_bundles: tuple[int, ...]
    rank_gpus: float
    """Of each rank; 0 on CPUs."""
    engine_gpus: float


def store_bytes(weight_bytes: int) -> int:
    """What Ray's object store takes of shared memory, for weights of that size."""
    return STORE_BYTES + STORED_VERSIONS * weight_bytes


@contextmanager
def open_cluster(section: ClusterSection, *, weight_bytes: int) -> Iterator[Any]:
    """The connected ``ray`` module; disconnected, and our own cluster ended, at the end.

    Raises:
        ConfigError: If Ray is missing, the named cluster is not there, or refuses our token.
    """
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if section.address is None:
        # Read at import; Ray then takes 127.0.0.1 for its address.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # the workers are the run, no guests
    ray = _ray()
    with contextlib.ExitStack() as stack:
        try:
            if section.address is None:
                stack.enter_context(_local(ray, section, weight_bytes))
            else:
                ray.init(address=section.address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ray.exceptions.AuthenticationError) as error:
            raise ConfigError(
                f"cluster.address = {section.address!r}: {error}; is the cluster up, and is its "
                "token in RAY_AUTH_TOKEN, or in the file that RAY_AUTH_TOKEN_PATH names?"
            ) from error
        stack.callback(ray.shutdown)
        yield ray


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"cluster.backend = ray: {error}; pip install 'rlreason[ray]', or take backend: inline"
        ) from None
    return ray


@functools.cache
def _own_token() -> str:
    """One for the life of the process: Ray reads it once, and a lost rank opens a new cluster."""
    return secrets.token_hex(32)


@contextmanager
def _local(ray: Any, section: ClusterSection, weight_bytes: int) -> Iterator[None]:
    # Sockets and logs in a folder that nobody else may enter; short, as a socket's path must be.
    folder = tempfile.mkdtemp(prefix="rlr-")
    token = _own_token()
    hidden = {name: os.environ.pop(name, None) for name in _TOKEN_VARIABLES}
    os.environ["RAY_AUTH_TOKEN"] = token
    try:
        with guarded(token, folder):
            _start(ray, section, weight_bytes, folder)
            yield
            ray.shutdown()
    finally:
        ray.shutdown()
        for name, value in hidden.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def _start(ray: Any, section: ClusterSection, weight_bytes: int, folder: str) -> None:
    """Start Ray; a machine under load gets a second chance, as Ray itself waits only 30 s."""
    for left in reversed(range(STARTS)):
        try:
            ray.init(
                address="local",
                num_cpus=max(len(os.sched_getaffinity(0)), section.learners + section.engines),
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                object_store_memory=store_bytes(weight_bytes),
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
            )
        except Exception as error:  # Ray raises this class itself
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            if not left:
                raise TrainingStopped(
                    f"Ray did not start {STARTS} times, 30 s each: {error} Nothing is lost; try "
                    "again when the machine has less to do"
                ) from error
        else:
            return


def bundles(
    section: ClusterSection, *, gpus: bool, tensor_parallel: int = 1
) -> tuple[list[dict[str, float]], int]:
    """What each place of the layout holds, and the bundle of the first engine.

    Colocated, rank i and engine i share bundle i; separate, the engines follow the ranks, each with
    ``tensor_parallel`` GPUs of one node.

    Raises:
        ConfigError: If colocated parts on GPUs do not come in pairs, or an engine needs several; or
            weights are to go from GPU to GPU where there is none.
    """
    if section.weight_sync != "shared_memory" and not gpus:
        raise ConfigError(
            f"cluster.weight_sync = {section.weight_sync} moves weights between GPUs, and this "
            "cluster has none; take weight_sync: shared_memory"
        )
    colocated = section.layout == "colocated"
    if colocated and gpus and (section.learners != section.engines or tensor_parallel > 1):
        raise ConfigError(
            f"cluster.learners = {section.learners}, cluster.engines = {section.engines}, "
            f"rollout.vllm.tensor_parallel_size = {tensor_parallel}: colocated, each GPU holds one "
            "whole rank and one whole engine; make their numbers equal without tensor parallelism, "
            "or take layout: separate"
        )
    if colocated:
        parts = [
            (rank < section.learners) + (rank < section.engines)
            for rank in range(max(section.learners, section.engines))
        ]
        return [_bundle(count, gpus=float(gpus)) for count in parts], 0
    ranks = [_bundle(1, gpus=float(gpus))] * section.learners
    engines = [_bundle(1, gpus=float(gpus * tensor_parallel))] * section.engines
    return ranks + engines, section.learners


def _bundle(parts: int, *, gpus: float) -> dict[str, float]:
    return {"CPU": float(parts)} | ({"GPU": gpus} if gpus else {})


def reserve(
    ray: Any, section: ClusterSection, *, tensor_parallel: int = 1, had_gpus: bool | None = None
) -> Places:
    """A placement group for all parts, granted.

    ``had_gpus`` is of a run that goes on after a loss, with GPUs or without as before: what it had
    is waited for, since another node may be on its way. A run that begins is refused at once.

    Raises:
        ConfigError: If the cluster does not hold that much, or does not grant it.
    """
    patience_s = 0.0 if had_gpus is None else section.deadlines.start_s
    gpus = ray.cluster_resources().get("GPU", 0) > 0 if had_gpus is None else had_gpus
    wanted, first_engine = bundles(section, gpus=gpus, tensor_parallel=tensor_parallel)
    _await_size(ray, section, wanted, patience_s)
    group = ray.util.placement_group(wanted, strategy="PACK")
    if not group.wait(section.deadlines.start_s):
        raise ConfigError(
            f"cluster: Ray granted no place for {wanted} in {section.deadlines.start_s:g} s; it "
            f"has {dict(ray.available_resources())} free: is another job on the cluster?"
        )
    shared = gpus and section.layout == "colocated"
    return Places(
        group=group,
        rank_bundles=tuple(range(section.learners)),
        engine_bundles=tuple(first_engine + index for index in range(section.engines)),
        rank_gpus=0.5 if shared else float(gpus),
        engine_gpus=0.5 if shared else float(gpus * tensor_parallel),
    )


def _await_size(
    ray: Any, section: ClusterSection, wanted: Sequence[Mapping[str, float]], patience_s: float
) -> None:
    until, is_told = time.monotonic() + patience_s, False
    while lack := _lack(wanted, ray.cluster_resources()):
        told = (
            f"cluster: {section.learners} learner ranks and {section.engines} engines need {lack}"
        )
        if time.monotonic() >= until:
            raise ConfigError(
                f"{told} in layout {section.layout}; lower cluster.learners or cluster.engines"
            )
        if not is_told:
            log.warning("%s; waiting %g s for a node to join", told, patience_s)
            is_told = True
        time.sleep(POLL_S)


def _lack(wanted: Sequence[Mapping[str, float]], has: Mapping[str, float]) -> str:
    """What is wanted and not there, in words; empty if all of it is."""
    needed = {name: sum(bundle.get(name, 0) for bundle in wanted) for name in ("CPU", "GPU")}
    return " and ".join(
        f"{count:g} {name}s where the cluster has {has.get(name, 0):g}"
        for name, count in needed.items()
        if count > has.get(name, 0)
    )
