"""Planned faults, so that tests can kill a real run at a chosen place.

``RLREASON_FAULT="phase:step:action"`` arms one fault for the life of the process; without it every
call returns at once. The variable is read once: changing it later has no effect.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from dataclasses import dataclass

from rlreason.errors import ConfigError

VARIABLE = "RLREASON_FAULT"
ACTIONS = ("kill9", "raise", "hang")


class InjectedError(RuntimeError):
    """What the action ``raise`` raises: an error that no part of rlreason expects."""


@dataclass(frozen=True, slots=True)
class _Plan:
    phase: str
    step: int
    action: str


def fault_point(phase: str, step: int) -> None:
    """Fail here if the environment planned a fault for this phase and step.

    Raises:
        InjectedError: For the action ``raise``.
        ConfigError: If the variable does not parse.
    """
    plan = _plan()
    if plan is None or (plan.phase, plan.step) != (phase, step):
        return
    if plan.action == "raise":
        raise InjectedError(f"{VARIABLE}: fault in phase {phase!r} of step {step}")
    if plan.action == "kill9":
        os.kill(os.getpid(), signal.SIGKILL)
    while True:  # hang: signal handlers still run, nothing else does
        time.sleep(60)


@functools.cache
def _plan() -> _Plan | None:
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    phase, _, rest = text.partition(":")
    step, _, action = rest.partition(":")
    if not phase or not step.isdecimal() or action not in ACTIONS:
        raise ConfigError(
            f"{VARIABLE} = {text!r}: it looks like phase:step:action with a whole number as step "
            f"and one of {', '.join(ACTIONS)} as action"
        )
    return _Plan(phase, int(step), action)
