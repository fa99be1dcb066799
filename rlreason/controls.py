"""What the loop adjusts from step to step: KL and entropy coefficients, the reference's version.

Its state is in the checkpoint, and depends on nothing but what the steps measured: a replayed step
moves it as the first time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlreason.algorithms.control import EntropyState, next_entropy_state, next_kl_coefficient
from rlreason.config import AlgorithmSection
from rlreason.loop_metrics import ControlMetrics
from rlreason.protocols import Learner
from rlreason.types import Coefficients, UpdateStats


class Controls:
    """Coefficients of the next step, and how old the reference is."""

    def __init__(self, algorithm: AlgorithmSection) -> None:
        self._algorithm = algorithm
        self._kl = algorithm.kl
        # Until an entropy is known, the bonus of the recipe acts.
        self._entropy = EntropyState(algorithm.entropy_bonus, active=True)
        self._reference_version = 0

    @property
    def penalty(self) -> float:
        """What a nat of KL costs in the reward; 0 where the KL term is in the loss."""
        return 0.0 if self._algorithm.kl_in == "loss" else self._kl

    @property
    def coefficients(self) -> Coefficients:
        """Of the loss."""
        in_loss = self._algorithm.kl_in == "loss"
        return Coefficients(kl=self._kl if in_loss else 0.0, entropy=self._entropy.applied)

    @property
    def needs_every_group(self) -> bool:
        """Whether groups without signal have a gradient, or a controller measures on them too."""
        algorithm = self._algorithm
        in_loss = algorithm.kl > 0 and algorithm.kl_in == "loss"
        return in_loss or algorithm.entropy_bonus > 0 or algorithm.entropy_control is not None

    def observe(self, update: UpdateStats | None) -> None:
        """Move the coefficients by what a step measured; a step without an update moves none."""
        if update is None or update.skipped:
            return
        kl, entropy = self._algorithm.kl_control, self._algorithm.entropy_control
        if kl is not None:
            self._kl = next_kl_coefficient(self._kl, update.kl, target=kl.target, gain=kl.gain)
        if entropy is not None:
            self._entropy = next_entropy_state(
                self._entropy,
                update.entropy,
                target=entropy.target,
                change=entropy.change,
                highest=entropy.highest,
            )

    def refresh_reference_if_due(self, version: int, learner: Learner) -> None:
        """Make ``version``, which the learner holds, the reference at every n-th version."""
        every = self._algorithm.reference_every
        if every and version % every == 0:
            learner.refresh_reference()
            self._reference_version = version

    def metrics(self) -> ControlMetrics | None:
        """What the next step uses; None where nothing of it is in use."""
        algorithm = self._algorithm
        kl = self._kl if algorithm.kl else None
        entropic = algorithm.entropy_bonus > 0 or algorithm.entropy_control is not None
        if kl is None and not entropic:
            return None
        return ControlMetrics(
            kl_coefficient=kl,
            entropy_coefficient=self._entropy.applied if entropic else None,
            reference_version=None if kl is None else self._reference_version,
        )

    def state_dict(self) -> dict[str, Any]:
        """All of it, as JSON-ready values."""
        return {
            "kl": self._kl,
            "entropy": list(self._entropy),
            "reference_version": self._reference_version,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``."""
        self._kl = state["kl"]
        coefficient, active = state["entropy"]
        self._entropy = EntropyState(coefficient, active)
        self._reference_version = state["reference_version"]
