"""Trials of a sweep as Ray tasks: one task is one process, wherever the resources are.

Nodes must see the sweep folder and the working folder under the same path (a shared file system).
A task whose node is lost is started again by Ray on another one, and the trial resumes from its
run folder: no state of a trial lives in Ray.

Ray's own ports listen on every interface, whatever address its nodes are given; the token that
``RAY_AUTH_MODE=token`` asks for is what keeps others out.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlreason.cluster.trial_process import ask_to_stop, kill_group, start_trial
from rlreason.config import TrialResourcesSection
from rlreason.errors import ConfigError

LOST = -int(signal.SIGKILL)
"""Exit code of a trial whose worker was lost more often than Ray starts it again."""

NODE_LOSSES = 8
"""How often Ray starts a trial again whose worker or node died."""

_STOP_S = 60.0
_POLL_S = 0.2


class RayTrials:
    """A ``TrialBackend`` on a Ray cluster, or on a Ray of its own on this machine's loopback."""

    def __init__(
        self, resources: TrialResourcesSection, *, slots: int = 0, address: str | None = None
    ) -> None:
        """Connect to the cluster at ``address``, or start one here.

        Raises:
            ConfigError: If Ray is not installed, the cluster is not there, or has not enough for
                one trial.
        """
        # Read when Ray starts. Whoever has the token may run code here; nobody else.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise ConfigError(
                f"backend = ray: {error}; pip install 'rlreason[ray]', or set backend = local"
            ) from None
        self._ray = ray
        here: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            ray.init(address=address, log_to_driver=False, **({} if address else here))
        except (ConnectionError, RuntimeError) as error:
            raise ConfigError(f"ray_address = {address!r}: {error}") from error
        self._resources = resources
        self._wanted_slots = slots
        self._running: dict[str, Any] = {}
        self._run = ray.remote(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_retries=NODE_LOSSES,
            retry_exceptions=False,
        )(run_trial)
        if self._fitting() < 1:
            has = ray.cluster_resources()
            self.close()
            raise ConfigError(
                f"resources: a trial takes {resources.cpus} cores and {resources.gpus} GPUs, but "
                f"the cluster has {has.get('CPU', 0):g} and {has.get('GPU', 0):g}"
            )

    @property
    def slots(self) -> int:
        """Trials at once; without a wish, what the cluster's nodes hold now."""
        return self._wanted_slots or max(self._fitting(), 1)

    def start(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        """Hand a trial to the cluster."""
        arguments = (list(command), str(log.resolve()), dict(environment), os.getcwd())
        self._running[name] = self._run.options(name=name).remote(*arguments)

    def ended(self) -> dict[str, int]:
        """Name -> exit code of the trials that ended since the last call."""
        if not self._running:
            return {}
        names = {ref: name for name, ref in self._running.items()}
        ready, _ = self._ray.wait(list(names), num_returns=len(names), timeout=0)
        return {names[ref]: self._exit_code(self._running.pop(names[ref])) for ref in ready}

    def stop(self) -> None:
        """Ask every trial to save and leave."""
        for ref in self._running.values():
            self._ray.cancel(ref, force=False)

    def close(self) -> None:
        """End what still runs, and the connection."""
        for ref in self._running.values():
            self._ray.cancel(ref, force=True)
        self._running.clear()
        self._ray.shutdown()

    def _exit_code(self, ref: Any) -> int:
        try:
            return int(self._ray.get(ref))
        except (self._ray.exceptions.TaskCancelledError, KeyboardInterrupt):
            return -int(signal.SIGTERM)
        except self._ray.exceptions.RayError:
            return LOST

    def _fitting(self) -> int:
        """How many trials the nodes hold; a trial does not span nodes."""
        count = 0.0
        for node in self._ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                fits = has.get("CPU", 0) // self._resources.cpus
                if self._resources.gpus:
                    fits = min(fits, has.get("GPU", 0) // self._resources.gpus)
                count += fits
        return int(count)


def run_trial(command: list[str], log: str, environment: dict[str, str], folder: str) -> int:
    """The task: run the trial's process to its end and return its exit code.

    The process dies with the Ray worker, so a lost node leaves nothing that writes on.
    """
    os.chdir(folder)
    process = start_trial(command, log=Path(log), environment=environment)
    try:
        # Ray cancels a task by KeyboardInterrupt, which does not wake a wait without a limit.
        while (code := process.poll()) is None:
            time.sleep(_POLL_S)
        return code
    except KeyboardInterrupt:
        ask_to_stop(process)
        try:
            return process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            return LOST
    finally:
        kill_group(process)
