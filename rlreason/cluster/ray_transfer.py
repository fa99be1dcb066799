"""Publication past the host: ranks send weights to the engines' GPUs, the driver looks on.

vLLM's weight-transfer API does the sending; here are its two ends under Ray. Whoever is lost on the
way takes all with it: the others wait inside a transfer, which nothing can call off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any

from rlreason.errors import LearnerLostError


class RemoteEngines:
    """The engines as rank 0's sender sees them; keeps vLLM's VLLMWeightSyncClient."""

    def __init__(self, handles: Sequence[Any], *, processes_each: int) -> None:
        """``handles`` are the engines' hosts, each of ``processes_each`` processes."""
        self._handles, self._processes_each = list(handles), processes_each
        self.version = -1

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Have every engine meet the sender, each under ranks of its own."""
        infos = []
        for index in range(len(self._handles)):
            info = dict(init_info)
            if "rank_offset" in info:  # vLLM's is that of a single engine
                info["rank_offset"] += index * self._processes_each
            infos.append(info)
        self._ask([methodcaller("join_transfer", info) for info in infos])

    def start_weight_update(self) -> None:
        """Have every engine make ready."""
        self._ask_all(methodcaller("start_transfer"))

    def update_weights(self, update_info: Any) -> None:
        """Have every engine take one part."""
        self._ask_all(methodcaller("receive", update_info))

    def finish_weight_update(self, weight_version: str | None = None) -> None:  # noqa: ARG002
        """Have every engine use what came, as ``version``; vLLM's sender knows no version."""
        self._ask_all(methodcaller("finish_transfer", self.version))

    def _ask_all(self, function: Callable[[Any], Any]) -> None:
        self._ask([function] * len(self._handles))

    def _ask(self, functions: Sequence[Callable[[Any], Any]]) -> None:
        """Ask each engine at once, and wait for all.

        Raises:
            LearnerLostError: If one is dead.
        """
        import ray

        refs = [
            handle.run.remote(function)
            for handle, function in zip(self._handles, functions, strict=True)
        ]
        try:
            ray.get(refs)
        except ray.exceptions.RayActorError as error:
            raise LearnerLostError(f"an engine died while weights came: {error}") from None


class TransferPublisher:
    """Keeps protocols.WeightPublisher between ranks and engines, GPU to GPU."""

    def __init__(self, learner: Any, fleet: Any) -> None:
        """Publish from ranks that have met the engines already."""
        self._learner, self._fleet = learner, fleet

    def publish(self, version: int) -> None:
        """Send, then ask every engine what it holds.

        Raises:
            LearnerLostError: If a rank or an engine dies or hangs on the way.
            StalePolicyError: If an engine reports another version afterwards.
        """
        self._learner.send(version)
        self._fleet.confirm(version)
