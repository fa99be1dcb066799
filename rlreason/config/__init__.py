"""The run configuration: one frozen tree per kind of run, every field documented.

Importing it stays cheap: no torch, no vllm, no deepspeed. ``config_file.py`` reads the YAML. Class
defaults are the vetted setting; a recipe states what differs.
"""

from rlreason.config.algorithm import AlgorithmSection, RolloutSection
from rlreason.config.control import EntropyControlSection, KlControlSection, RefillSection
from rlreason.config.grpo import GrpoConfig
from rlreason.config.sections import (
    NAME_PATTERN,
    ClusterSection,
    DeadlineSection,
    EvaluationSection,
    LearnerSection,
    LogSection,
    ModelSection,
    PluginConfig,
    PoolSection,
    PromptSection,
    RunSection,
    ScoringSection,
    Section,
)

__all__ = [
    "NAME_PATTERN",
    "AlgorithmSection",
    "ClusterSection",
    "DeadlineSection",
    "EntropyControlSection",
    "EvaluationSection",
    "GrpoConfig",
    "KlControlSection",
    "LearnerSection",
    "LogSection",
    "ModelSection",
    "PluginConfig",
    "PoolSection",
    "PromptSection",
    "RefillSection",
    "RolloutSection",
    "RunSection",
    "ScoringSection",
    "Section",
]
