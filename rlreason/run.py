"""The built parts of a run: what build.py makes and the trainer drives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rlreason.checkpoint import Checkpointer
from rlreason.config import GrpoConfig
from rlreason.controls import Controls
from rlreason.draw_history import DrawHistory
from rlreason.evaluate import Evaluator
from rlreason.journal import Journal
from rlreason.protocols import (
    Curriculum,
    Learner,
    ProblemPools,
    RolloutEngine,
    Scorer,
    WeightPublisher,
)
from rlreason.recorder import Recorder


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The built parts of one run."""

    config: GrpoConfig
    start_step: int
    """Version of the weights that learner and engine hold."""
    pools: ProblemPools
    curriculum: Curriculum
    draws: DrawHistory
    engine: RolloutEngine
    scorer: Scorer
    bounds: Mapping[str, tuple[float, float]]
    """Pool -> bounds of its training reward."""
    controls: Controls
    learner: Learner
    publisher: WeightPublisher
    journal: Journal
    checkpointer: Checkpointer
    evaluator: Evaluator | None
    """None where no pool holds problems out, or evaluation.every is 0."""
    recorder: Recorder
