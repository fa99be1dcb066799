"""Which engine samples which request. Plain bookkeeping: no clock, no processes."""

from __future__ import annotations

from collections.abc import Sequence

from rlreason.errors import TrainingStopped


class Dispatch:
    """Deals the requests of one phase to engines, a prompt group at a time.

    At first every engine gets an equal share, up to what it decodes at once. What is left waits
    here and goes to whichever engine drains first, so that none idles while another has a queue.
    In a ``fixed`` deal request i always goes to engine i modulo their number: the batches that an
    engine computes, and so the last bits of its results, then do not hang on timing.
    """

    def __init__(
        self, samples: Sequence[int], *, engines: int, at_once: int, fixed: bool = False
    ) -> None:
        """Deal ``len(samples)`` requests, of so many completions each.

        Args:
            samples: Completions of each request.
            engines: How many engines there are.
            at_once: Completions that an engine decodes at once.
            fixed: Whether the deal may depend on nothing but these numbers.
        """
        self._samples, self._at_once, self._fixed = samples, at_once, fixed
        self._waiting: list[list[int]] = [[] for _ in range(engines)]
        self._loads = [0] * engines
        self._common: list[int] = []
        self._held: list[set[int]] = [set() for _ in range(engines)]
        self._reissued: set[int] = set()
        self._unfinished = set(range(len(samples)))
        for ticket in range(len(samples)):
            if fixed:
                self._waiting[ticket % engines].append(ticket)
            else:
                self._deal_evenly(ticket)

    def _deal_evenly(self, ticket: int) -> None:
        """To the engine with the least, unless all have what they decode at once."""
        least = self._loads.index(min(self._loads))
        load = self._loads[least] + self._samples[ticket]
        if self._waiting[least] and load > self._at_once:
            self._common.append(ticket)
            return
        self._waiting[least].append(ticket)
        self._loads[least] = load

    @property
    def is_done(self) -> bool:
        """Whether every request was answered."""
        return not self._unfinished

    def take(self, engine: int) -> list[int]:
        """The requests that ``engine`` starts now."""
        taken, self._waiting[engine] = self._waiting[engine], []
        load = sum(self._samples[ticket] for ticket in (*self._held[engine], *taken))
        while self._common and (
            load == 0 or load + self._samples[self._common[0]] <= self._at_once
        ):
            taken.append(self._common.pop(0))
            load += self._samples[taken[-1]]
        self._held[engine] |= set(taken)
        return taken

    def answered(self, engine: int, ticket: int) -> None:
        """``engine`` gave the group of ``ticket``."""
        self._held[engine].discard(ticket)
        self._unfinished.discard(ticket)

    def is_idle(self, engine: int) -> bool:
        """Whether ``engine`` holds nothing and would get nothing."""
        return not (self._held[engine] or self._waiting[engine] or self._common)

    def lost(self, engine: int) -> None:
        """``engine`` died: what it held is asked for again, once.

        Raises:
            TrainingStopped: If one of its requests was lost before.
        """
        held, self._held[engine] = sorted(self._held[engine]), set()
        again = self._reissued.intersection(held)
        if again:
            raise TrainingStopped(
                f"requests {sorted(again)[:5]} of this phase were under way in two engines that "
                "died or hung, and are not asked for a third time; the rollouts of earlier steps "
                "are kept. Look at the engines' logs, and at memory first"
            )
        self._reissued |= set(held)
        if self._fixed:
            self._waiting[engine] = held + self._waiting[engine]
        else:
            self._common = held + self._waiting[engine] + self._common
            self._waiting[engine] = []
