"""Everything rlreason raises on purpose.

    RlreasonError
    +-- ConfigError        (ValueError)    a mistake in a recipe, an override or a path in it
    +-- DataError          (ValueError)    problems that cannot be read, or too many bad rows
    +-- PluginError        (ValueError)    a dotted path that does not load, or a plug-in that broke its contract
    +-- ShapeError         (ValueError)    tensors that do not fit together
    +-- CheckpointError    (RuntimeError)  a checkpoint or journal that is not what its manifest says
    +-- RunLockedError     (RuntimeError)  another process holds the run folder
    +-- StalePolicyError   (RuntimeError)  the engine samples from other weights than the learner holds
    +-- TrainingStopped    (RuntimeError)  a run that cannot go on: repeated NaN, too many scorer faults

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


class TrainingStopped(RlreasonError, RuntimeError):
    """The run cannot go on; everything up to the last checkpoint is kept."""
