"""What the options of every curriculum have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
"""An unknown option is a mistake, and so is one that is not finite."""

Floor = Annotated[float, Field(ge=0, le=1)]
"""Share of the draws that is spread equally over all pools: every pool keeps a weight of at least
floor / number of pools. 1 is Uniform."""
