"""Two Ray nodes on this machine for scripts/cluster_check, one of which can be lost."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from process_tree import descendants

CORES = 2
QUICK_TO_SEE_DEATH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 5,
}


class Nodes:
    """A head without cores and two nodes with a learner rank and an engine each."""

    def __init__(self, token: str) -> None:
        from ray.cluster_utils import Cluster

        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        head = {"include_dashboard": False, "num_cpus": 0, "_system_config": QUICK_TO_SEE_DEATH}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self._cluster.add_node(num_cpus=CORES)
        self._doomed = self._cluster.add_node(num_cpus=CORES)
        self._frozen: list[int] = []
        self.address: str = self._cluster.address

    def add_spare(self) -> None:
        """Another node joins; nothing runs on it yet."""
        self._cluster.add_node(num_cpus=CORES)

    def kill_one(self) -> None:
        """A node's processes end without a word; its connections break."""
        self._cluster.remove_node(self._doomed, allow_graceful=False)

    def freeze_one(self) -> None:
        """A node falls silent with its connections open, as one that lost power or network."""
        raylet = self._doomed.all_processes["raylet"][0].process.pid
        self._frozen = descendants(raylet)
        for process in self._frozen:
            os.kill(process, signal.SIGSTOP)

    def knows_of_loss(self) -> bool:
        """Whether Ray's own node table has one down."""
        return any(not node["Alive"] for node in self._cluster.global_state.node_table())

    def close(self) -> None:
        """End all nodes."""
        for process in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._cluster.shutdown()


@functools.cache
def _token() -> str:
    """One for all clusters of this process: Ray reads it once."""
    return secrets.token_hex(32)


@contextmanager
def nodes() -> Iterator[Nodes]:
    """A cluster that takes only who has its token; the variables stay for this process's Ray."""
    token = _token()
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    cluster = Nodes(token)
    try:
        yield cluster
    finally:
        cluster.close()
        del os.environ["RAY_AUTH_TOKEN"]
