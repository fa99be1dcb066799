"""Continuing a run whose pools were added, removed or renamed: ``run.on_pool_change = adapt``.

The state of a curriculum and the cursors of the pools hold what belongs to a pool in ``pools``, by
name. That is all that adapting looks at, so it works for a user's curriculum as for the shipped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from rlreason.errors import CheckpointError
from rlreason.journal import Journal

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """A curriculum, or the pools."""

    def state_dict(self) -> dict[str, Any]:
        """What to continue from."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``."""
        ...


def load_adapted(part: Stateful, saved: Mapping[str, Any], *, what: str) -> None:
    """Continue ``part``, which has seen nothing yet, from a state that may be of other pools.

    Args:
        part: Is given ``saved`` with the entries of its own pools: of one that it shares with the
            saved state the saved entry, else the entry that it has now.
        saved: The state of a checkpoint.
        what: "curriculum" or "pools", for messages.

    Raises:
        CheckpointError: If the state does not say what belongs to which pool.
    """
    fresh = part.state_dict()
    before, now = saved.get("pools"), fresh.get("pools")
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        raise CheckpointError(
            f"{what}: its state has no mapping 'pools' (pool -> what belongs to it), so it cannot "
            "continue with run.on_pool_change = adapt; see curricula/README.md, or start anew with "
            "--fresh"
        )
    added, removed = sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys())
    if added or removed:
        logger.warning("%s: %s start unseen, state of %s is dropped", what, added, removed)
    entries = {name: before.get(name, entry) for name, entry in now.items()}
    part.load_state_dict({**saved, "pools": entries})


def discard_other_pools(journal: Journal, start: int, pools: Iterable[str]) -> None:
    """Remove journaled steps from ``start`` on whose draw was not over ``pools`` in this order.

    They were drawn with other probabilities than this run will draw with, so they are no steps of
    it.
    """
    names, last = list(pools), journal.last_step()
    for step in range(start, start if last is None else last + 1):
        entry = journal.read(step)
        if entry is not None and list(entry.weights) != names:
            journal.discard_from(step)
            return
