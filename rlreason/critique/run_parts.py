"""The built parts of one run of critique fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlreason.config import CftConfig
from rlreason.critique.examination import Examiner
from rlreason.critique.lessons import TurnCodec
from rlreason.critique.prompts import Template
from rlreason.critique.prompts import render as fill
from rlreason.critique.replies import NamedWriter, Writing
from rlreason.critique.stage_display import StageDisplay
from rlreason.critique.training import OpenLearner
from rlreason.protocols import Scorer
from rlreason.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """What generators, teachers and the policy read."""

    solve: Template
    critique: Template
    train: Template

    def render_train(self, problem: Problem, solution: str) -> str:
        """The text that asks the policy for a critique."""
        return fill(self.train, problem, solution)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashes:
    """Stand for what is too large to stand in a stage's inputs."""

    seed_problems: str
    model: str
    """Weights and tokenizer of the untrained model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CftRun:
    """The built parts of one run."""

    config: CftConfig
    folder: Path
    seed_pools: Mapping[str, Sequence[Problem]]
    """Pool -> problems that may become seeds."""
    test_keys: frozenset[str]
    """Split keys of the problems that are tested or validated on."""
    key_of: Callable[[Problem], str]
    """A problem's split key."""
    generators: Sequence[NamedWriter]
    teachers: Sequence[NamedWriter]
    policy: NamedWriter
    """The untrained model as a generator, for pass rates."""
    templates: Templates
    scorer: Scorer
    bounds: Mapping[str, tuple[float, float]]
    judge: Scorer
    """Of critiques."""
    codec: TurnCodec
    open_learner: OpenLearner
    examiner: Examiner
    hashes: Hashes
    display: StageDisplay

    @property
    def stages(self) -> Path:
        """Folder of the stages' files."""
        return self.folder / "stages"

    def writing(self, stage: str, max_failed_frac: float) -> Writing:
        """How ``stage`` has its texts written."""
        return Writing(
            folder=self.stages / "replies" / stage,
            seed=self.config.run.seed,
            max_failed_frac=max_failed_frac,
            progress=self.display.progress,
        )
