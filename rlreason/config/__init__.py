"""The run configuration: one frozen tree per kind of run, every field documented.

Importing it stays cheap: no torch, no vllm, no deepspeed. ``config_file.py`` reads the YAML. Class
defaults are the vetted setting; a recipe states what differs.
"""

from rlreason.config.algorithm import AlgorithmSection, Correction, RolloutSection
from rlreason.config.cft import CftConfig, CftPoolSection, TrainingSection
from rlreason.config.control import EntropyControlSection, KlControlSection, RefillSection
from rlreason.config.grpo import GrpoConfig
from rlreason.config.lora import LoraSection
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
    SelectionSection,
)
from rlreason.config.sweep import SweepConfig, TrialResourcesSection
from rlreason.config.writers import PriceSection, TeacherSection, WriterSection

__all__ = [
    "NAME_PATTERN",
    "AlgorithmSection",
    "CftConfig",
    "CftPoolSection",
    "ClusterSection",
    "Correction",
    "DeadlineSection",
    "EntropyControlSection",
    "EvaluationSection",
    "GrpoConfig",
    "KlControlSection",
    "LearnerSection",
    "LogSection",
    "LoraSection",
    "ModelSection",
    "PluginConfig",
    "PoolSection",
    "PriceSection",
    "PromptSection",
    "RefillSection",
    "RolloutSection",
    "RunSection",
    "ScoringSection",
    "Section",
    "SelectionSection",
    "SweepConfig",
    "TeacherSection",
    "TrainingSection",
    "TrialResourcesSection",
    "WriterSection",
]
