"""Sections of what the loop adjusts by itself: the size of a step, and coefficients of the loss."""

from __future__ import annotations

from pydantic import Field

from rlreason.config.sections import Section


class RefillSection(Section):
    """Dynamic sampling (DAPO, arXiv:2503.14476): groups that teach nothing are replaced."""

    max_extra: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    """Limit of the extra problems of a step, as a multiple of problems_per_step; a step that
    reaches it learns from the groups that it has."""
    part: str | None = None
    """Part of the score in which a group must differ to count, such as ``correct``: a length
    penalty tells all-wrong completions apart too. Null: the whole score."""


class KlControlSection(Section):
    """Proportional controller of the KL coefficient (Ziegler et al., arXiv:1909.08593)."""

    target: float = Field(gt=0, allow_inf_nan=False)
    """Wanted KL to the reference, nats per token by ``kl_estimator``."""
    gain: float = Field(default=0.1, gt=0, lt=5)
    """Each step multiplies the coefficient by 1 + gain * error, the relative error clipped to
    [-0.2, 0.2]; the paper's value."""


class EntropyControlSection(Section):
    """Controller of the entropy bonus (Skywork-OR1, arXiv:2505.22312)."""

    target: float = Field(gt=0, allow_inf_nan=False)
    """Entropy, nats per token, below which the bonus acts."""
    change: float = Field(default=0.005, gt=0, allow_inf_nan=False)
    """The coefficient grows by this after a step below the target, and shrinks after another."""
    highest: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """The coefficient stays between 0 and this."""
