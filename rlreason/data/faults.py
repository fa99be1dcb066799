"""Collects what is wrong with the rows of a pool, and decides whether the run may go on.

All faults of a pool are found before anything starts. Up to 1 % of bad rows are skipped with a
warning that names them; more stop the run, because a broken export is likelier than bad luck.
"""

from __future__ import annotations

import logging
from collections import Counter

from rlreason.errors import DataError

MAX_BAD_FRAC = 0.01
"""Largest share of bad rows that is skipped."""
MAX_EXAMPLES = 10
"""Bad rows that a message quotes."""

_log = logging.getLogger(__name__)


class BadRowError(DataError):
    """Why one row is no problem: what a check raises, and a FaultReport takes in."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


class FaultReport:
    """The bad rows of one pool: counted by kind, the first ones quoted with their origin."""

    def __init__(self, pool_name: str) -> None:
        self._pool_name = pool_name
        self._kinds: Counter[str] = Counter()
        self._examples: list[str] = []

    def add(self, origin: str, fault: BadRowError) -> None:
        """Count ``fault``; ``origin`` is what a person looks up ("problems.jsonl line 17")."""
        self._kinds[fault.kind] += 1
        if len(self._examples) < MAX_EXAMPLES:
            self._examples.append(f"{origin}: {fault}")

    def settle(self, num_rows: int) -> None:
        """Warn of the bad rows among ``num_rows``, or stop.

        Raises:
            DataError: If there are no rows, no good rows, or more than 1 % bad ones.
        """
        if num_rows == 0:
            raise DataError(f"pool {self._pool_name!r}: the source holds no rows")
        num_bad = self._kinds.total()
        if num_bad == 0:
            return
        summary = self._summary(num_bad, num_rows)
        if num_bad > MAX_BAD_FRAC * num_rows:
            raise DataError(f"{summary}\ncorrect the rows, or the options of the pool")
        _log.warning("%s\nthese rows are skipped", summary)

    def _summary(self, num_bad: int, num_rows: int) -> str:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in self._kinds.most_common())
        head = (
            f"pool {self._pool_name!r}: {num_bad} of {num_rows} rows are bad "
            f"({num_bad / num_rows:.2%}; up to {MAX_BAD_FRAC:.0%} are skipped): {kinds}"
        )
        more = num_bad - len(self._examples)
        tail = [f"and {more} more"] if more else []
        return "\n  ".join([head, *self._examples, *tail])
