"""When to call again, as endpoints write it."""

import asyncio
from datetime import UTC, datetime

import pytest

from rlreason.critique.rate_limits import Gate, asked_wait, backoff, duration, exhausted_wait

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("20ms", 0.02),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("", None),
        ("-1", None),
        ("s", None),
        ("1 s", None),
        ("nan", None),
        ("1e9", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "3", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers, NOW) == seconds


def test_a_used_up_quota_holds_until_it_is_there_again() -> None:
    left = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "9s"}
    assert exhausted_wait(left) == 0.0
    assert exhausted_wait({**left, "x-ratelimit-remaining-requests": "0"}) == 9.0
    tokens = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"}
    assert exhausted_wait({**left, **tokens}) == 90.0
    assert exhausted_wait({"x-ratelimit-remaining-tokens": "0"}) == 0.0


def test_backoff_doubles_up_to_a_minute_and_is_spread() -> None:
    assert [backoff(n, first_s=1.0, chance=1.0) for n in (1, 2, 3, 7, 8, 999)] == [
        1,
        2,
        4,
        60,
        60,
        60,
    ]
    assert backoff(3, first_s=1.0, chance=0.0) == 2.0


def test_a_closed_gate_holds_everybody_until_the_latest_time() -> None:
    async def pass_through() -> float:
        gate, loop = Gate(), asyncio.get_running_loop()
        begin = loop.time()
        gate.close_for(0.02)
        gate.close_for(0.001)  # a shorter pause does not open it earlier
        gate.close_for(-5.0)
        await asyncio.gather(gate.passed(), gate.passed())
        return loop.time() - begin

    assert asyncio.run(pass_through()) >= 0.02
