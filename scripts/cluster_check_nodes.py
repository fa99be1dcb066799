"""Two Ray nodes on this machine for scripts/cluster_check, one of which can be lost."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
        self.address: str = self._cluster.address

    def replace_one(self) -> None:
        """One node goes without a word; another joins."""
        self._cluster.remove_node(self._doomed, allow_graceful=False)
        self._cluster.add_node(num_cpus=CORES)

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@contextmanager
def nodes() -> Iterator[Nodes]:
    """A cluster that takes only who has its token; the variables stay for this process's Ray."""
    token = secrets.token_hex(32)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    cluster = Nodes(token)
    try:
        yield cluster
    finally:
        cluster.close()
        del os.environ["RAY_AUTH_TOKEN"]
