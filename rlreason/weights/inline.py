"""Publication inside one process: the engine reads the learner's tensors where they lie."""

from __future__ import annotations

from rlreason.errors import StalePolicyError
from rlreason.protocols import Learner, RolloutEngine


class InlinePublisher:
    """Keeps protocols.WeightPublisher for one engine in the learner's process."""

    def __init__(self, learner: Learner, engine: RolloutEngine) -> None:
        self._learner, self._engine = learner, engine

    def publish(self, version: int) -> None:
        """Load the learner's weights into the engine; afterwards it holds ``version``.

        Raises:
            StalePolicyError: If the engine does not report ``version`` afterwards.
        """
        self._engine.load_weights(self._learner.named_tensors(), version=version)
        if self._engine.policy_version != version:
            raise StalePolicyError(
                f"the engine reports policy version {self._engine.policy_version} after version "
                f"{version} was published to it"
            )
