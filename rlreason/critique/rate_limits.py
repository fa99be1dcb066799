"""What an endpoint says about when to call again, and how long to wait where it says nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_BACKOFF_S = 60.0
"""Longest wait of our own choice."""

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PIECE.pattern})+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def asked_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or as a date; None if it does not."""
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    value = headers.get("retry-after", "").strip()
    seconds = duration(value)
    if seconds is not None or not value:
        return seconds
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())


def exhausted_wait(headers: Mapping[str, str]) -> float:
    """Seconds until a quota that the headers call used up is there again; 0 if none is."""
    waits = [0.0]
    for quota in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{quota}", "").strip() == "0":
            waits.append(duration(headers.get(f"x-ratelimit-reset-{quota}", "").strip()) or 0.0)
    return max(waits)


def duration(text: str) -> float | None:
    """``7``, ``1.5``, ``20ms``, ``6m0s`` in seconds; None for anything else."""
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in _PIECE.findall(text))


def backoff(failures: int, *, first_s: float, chance: float) -> float:
    """Wait after so many failures in a row: doubling, and spread by ``chance`` in [0, 1)."""
    longest = min(MAX_BACKOFF_S, first_s * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + 0.5 * chance)


class Gate:
    """Holds back all calls of a writer while its endpoint wants none."""

    def __init__(self) -> None:
        self._opens = 0.0

    def close_for(self, seconds: float) -> None:
        """Let nobody through for ``seconds`` from now."""
        if seconds > 0:
            self._opens = max(self._opens, asyncio.get_running_loop().time() + seconds)

    async def passed(self) -> None:
        """Return when the gate is open."""
        while (left := self._opens - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)
