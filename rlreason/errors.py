"""Everything rlreason raises on purpose.

    RlreasonError
    +-- ConfigError       (ValueError)
    +-- DataError         (ValueError)
    +-- PluginError       (ValueError)
    +-- ShapeError        (ValueError)
    +-- CheckpointError   (RuntimeError)
    +-- RunLockedError    (RuntimeError)
    +-- StalePolicyError  (RuntimeError)
    +-- LearnerLostError  (RuntimeError)
    +-- TrainingStopped   (RuntimeError)

A message says where (file and line, dotted field, plug-in path, problem id), which value, which
rule, and what to do. The command line prints it without a traceback.
"""

from __future__ import annotations


class RlreasonError(Exception):
    """Root of all deliberate errors."""


class ConfigError(RlreasonError, ValueError):
    """A mistake in a recipe, an override or a path named by one."""


class DataError(RlreasonError, ValueError):
    """Problems that cannot be read or break a rule; rewards raise it for a wrong answer of ours."""


class PluginError(RlreasonError, ValueError):
    """A plug-in that does not load or breaks its contract."""


class ShapeError(RlreasonError, ValueError):
    """Tensors whose shapes do not fit together."""


class CheckpointError(RlreasonError, RuntimeError):
    """A checkpoint or journal that is not what its manifest says."""


class RunLockedError(RlreasonError, RuntimeError):
    """Another process holds the run folder."""


class StalePolicyError(RlreasonError, RuntimeError):
    """The engine samples from other weights than the learner holds."""


class LearnerLostError(RlreasonError, RuntimeError):
    """A learner rank died or hung; all ranks start again from checkpoint and journal."""


class TrainingStopped(RlreasonError, RuntimeError):
    """The run cannot go on; everything up to the last checkpoint is kept."""
