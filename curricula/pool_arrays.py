"""Numbers per pool as an array in memory and by name in a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curricula.pool_checks import require_same
from curricula.shares import Floats


def saved(values: Floats, names: Sequence[str]) -> dict[str, list[float]]:
    """[numbers, pools] -> pool -> its numbers; JSON keeps each to the bit."""
    return dict(zip(names, values.T.tolist(), strict=True))


def restored(state: Mapping[str, Any], names: Sequence[str]) -> Floats:
    """[numbers, pools] that ``saved`` wrote of the same pools, in the order of ``names``.

    Raises:
        CheckpointError: If they are of other pools.
    """
    require_same(state, names)
    return np.array([state[name] for name in names]).T.copy()
