"""One process of a run under Ray, and the driver's handle on it.

``Host`` is generic: it holds what a function makes and runs functions on it. Functions travel by
name, so both sides must have the same rlreason.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rlreason.cluster.ray_cluster import Places
from rlreason.errors import RlreasonError

log = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

KILL_S = 10.0
"""How long the order to kill may take on another node."""
BLAME_S = 5.0
"""How long to look for a dead rank behind another rank's error."""
LOCATE_S = 1.0
"""How long to ask who is to be killed."""


class Process(NamedTuple):
    """Where a host runs."""

    node: str
    address: str
    group: int
    """Process group: the host and whatever it started."""


class Host:
    """The actor: lives alone in its process and leads a process group."""

    def __init__(self, log: str) -> None:
        """Say everything to the file ``log`` from here on."""
        self._part: Any = None
        self._beside: Any = None
        if os.getpgrp() != os.getpid():
            os.setpgrp()
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, force=True)
        faulthandler.enable()

    def identify(self) -> Process:
        """Who to kill."""
        import ray

        context = ray.get_runtime_context()
        return Process(context.get_node_id(), ray.util.get_node_ip_address(), os.getpgrp())

    def free_port(self) -> int:
        """A port that was free just now."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return int(probe.getsockname()[1])

    def make(self, factory: Callable[..., Any], *args: Any) -> None:
        """Hold ``factory(*args)``."""
        self._part = factory(*args)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """``function(part, *args)``."""
        return function(self._part, *args)

    def make_beside(self, factory: Callable[..., Any], *args: Any) -> None:
        """Hold ``factory(part, *args)`` as well."""
        self._beside = factory(self._part, *args)

    def run_beside(self, function: Callable[..., Any], *args: Any) -> Any:
        """``function(what make_beside made, *args)``."""
        return function(self._beside, *args)

    def stream(self, function: Callable[..., Iterator[Any]], *args: Any) -> Iterator[Any]:
        """The values of ``function(part, *args)``, each an object of its own."""
        yield from function(self._part, *args)


class LostError(Exception):
    """A host died or was silent for too long. Never leaves the cluster package."""


class Member:
    """A host as the driver sees it."""

    def __init__(
        self, ray: Any, name: str, places: Places, bundle: int, *, gpus: float, logs: Path
    ) -> None:
        """Start the process in a bundle of ``places``; it may be awaited with the first answer."""
        self.name, self._ray = name, ray
        self._log = logs.resolve() / f"{name.replace(' ', '_')}.log"
        strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(
            placement_group=places.group, placement_group_bundle_index=bundle
        )
        # Ray restarts and retries nothing: what a new process must know, only we know.
        self.handle = (
            ray.remote(Host)
            .options(
                num_cpus=1,
                num_gpus=gpus,
                scheduling_strategy=strategy,
                max_restarts=0,
                max_task_retries=0,
            )
            .remote(str(self._log))
        )
        self.identity = self.ping()
        self.process: Process | None = None
        self.is_ended = False

    def make(self, factory: Callable[..., Any], *args: Any) -> Any:
        """Order it to hold ``factory(*args)``; the reference that says when it does."""
        return self.handle.make.remote(factory, *args)

    def make_beside(self, factory: Callable[..., Any], *args: Any) -> Any:
        """Order it to hold ``factory(part, *args)`` beside its part."""
        return self.handle.make_beside.remote(factory, *args)

    def call_beside(self, function: Callable[..., Any], *args: Any) -> Any:
        """Order ``function(what is beside, *args)``; the reference to its result."""
        return self.handle.run_beside.remote(function, *args)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Order ``function(part, *args)``; the reference to its result."""
        return self.handle.run.remote(function, *args)

    def locate(self, seconds: float) -> Process:
        """Where it runs; known once it has started.

        Raises:
            LostError: If it does not start.
        """
        if self.process is None:
            self.process = Process(*self.result(self.identity, seconds, "start"))
            log.info("%s: process %d on %s", self.name, self.process.group, self.process.address)
        return self.process

    def result(self, ref: Any, seconds: float, phase: str) -> Any:
        """The result behind ``ref``, awaited for ``seconds``.

        Raises:
            LostError: If the process died, or is silent.
        """
        try:
            return self._ray.get(ref, timeout=seconds)
        except self._ray.exceptions.GetTimeoutError:
            raise LostError(self.silent(seconds, phase)) from None
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except self._ray.exceptions.RayError as error:
            why = f"{_first_line(error)}; its log: {self._log}"
            raise LostError(f"{self.name} died ({phase}): {why}") from None

    def silent(self, seconds: float, phase: str) -> str:
        """What to say when it is."""
        return f"{self.name} gave no sign of life in {seconds:g} s ({phase}); its log: {self._log}"

    def ping(self) -> Any:
        """A reference that any living process answers once it is free."""
        return self.handle.identify.remote()

    @property
    def lost_node(self) -> str | None:
        """Its node, if Ray has found that the whole of it is gone."""
        gone = {node["NodeID"] for node in self._ray.nodes() if not node["Alive"]}
        return self.process.node if self.process and self.process.node in gone else None

    def kill(self) -> None:
        """End the process and all that it started."""
        end(self._ray, [self])


def gather(ray: Any, refs: Sequence[tuple[Member, Any]], seconds: float, phase: str) -> list[Any]:
    """All results, in order. One that dies or is silent fails all, as soon as it is known.

    A collective whose peer died raises in the others too; the dead one is then to blame.

    Raises:
        LostError: If a process died, or one gave no answer in time.
    """
    owners = {ref: member for member, ref in refs}
    waiting, until = list(owners), time.monotonic() + seconds
    blamed: Exception | None = None
    while waiting:
        left = until - time.monotonic()
        ready, waiting = ray.wait(waiting, timeout=max(left, 0.0))
        if not ready:
            if blamed is not None:
                raise blamed
            raise LostError(", ".join(owners[ref].silent(seconds, phase) for ref in waiting))
        try:
            owners[ready[0]].result(ready[0], KILL_S, phase)
        except (LostError, RlreasonError):
            raise
        except Exception as error:
            blamed = blamed or error
            until = min(until, time.monotonic() + BLAME_S)
    if blamed is not None:
        raise blamed
    return [member.result(ref, KILL_S, phase) for member, ref in refs]


def end(ray: Any, members: Sequence[Member]) -> None:
    """End processes and all that they started, on all nodes at once.

    A lost node has nothing to kill, but an order to it stays unanswered until Ray knows of the
    loss: so all orders are awaited together, and none is given twice.
    """
    left = [member for member in members if not member.is_ended]
    if left:
        ray.wait([member.identity for member in left], num_returns=len(left), timeout=LOCATE_S)
    orders = []
    for member in left:
        member.is_ended = True
        with contextlib.suppress(LostError):  # it never started: Ray has nothing but the actor
            orders += _order_kill(ray, member.locate(0.0))
    if orders:
        ray.wait(orders, num_returns=len(orders), timeout=KILL_S)
    for member in left:
        ray.kill(member.handle, no_restart=True)


def _order_kill(ray: Any, process: Process) -> list[Any]:
    """Kill a process group here, or order it killed where it is: that order."""
    if process.node == ray.get_runtime_context().get_node_id():
        _kill(process.group)
        return []
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        node_id=process.node, soft=False
    )
    order = ray.remote(_kill).options(num_cpus=0, scheduling_strategy=strategy, max_retries=0)
    return [order.remote(process.group)]


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _cause(error: Any) -> Exception:
    """Our own errors as they were raised; others with the remote traceback in their text."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, RlreasonError):
        return cause
    return RuntimeError(str(error))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
