r"""Worked solutions with known flaws: what the base model of the default run is taught to write.

A base model that already answers right would leave RL nothing to do, and one whose only flaw is
an occasional slip would answer right greedily. So most of what it reads follows a *wrong method*
consistently: addition forgets carries, the digit sum keeps the larger number, the maximum copies
the current digit, reversal copies the number. A minority is right, which is what RL finds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from rlreason.data.arithmetic import (
    Solution,
    completion_text,
    hash_fraction,
    num_problems,
    operands_of,
    solve,
    split_key,
    working_text,
)

HELD_OUT_FRAC = 0.10
"""Problems whose split key hashes below this are never taught. The train/held-out split keeps the
lowest hashes of a pool, so held-out sets of up to 10 % of a pool are unseen by the base model."""

SLIP_PROB = 0.25
"""Chance that a step of a slipping solution goes wrong."""

WRONG_METHOD_FRAC = 0.8
"""Share of the not-right solutions that follow the wrong method; the others slip at random."""

BAD_FORMATS: tuple[Callable[[str, str], str], ...] = (
    lambda working, answer: f"{working}\\boxed{{{answer}}}",
    lambda working, answer: f"<think>{working}</think>{answer}",
    lambda working, answer: f"<think>{working}\\boxed{{{answer}}}",
    lambda working, answer: f"{working}</think>\\boxed{{{answer}}}",
    lambda working, answer: f"<think>{working}</think>\\boxed{{{answer}",
)
"""No tags; no box; thinking never closed; thinking never opened; box never closed."""


class Share(NamedTuple):
    """How one kind of problem occurs in a training mix."""

    task: str
    digits: int
    weight: float
    right_frac: float
    """Solutions that are right."""
    format_frac: float
    """Completions in the strict format, drawn independently of being right."""
    wrong_method_frac: float = WRONG_METHOD_FRAC


def follow_wrong_method(task: str, operands: str) -> Solution:
    """The task's systematic mistake, applied at every step."""
    return _WRONG_METHODS[task](operands)


def _add_without_carry(operands: str) -> Solution:
    left, right = operands.split("+")
    totals = [int(a) + int(b) for a, b in zip(reversed(left), reversed(right), strict=True)]
    steps = [
        f"{a}+{b}+0={total}"
        for a, b, total in zip(reversed(left), reversed(right), totals, strict=True)
    ]
    return Solution(tuple(steps), "".join(str(total % 10) for total in reversed(totals)))


def _keep_larger(operands: str) -> Solution:
    steps, running = [], 0
    for digit in operands:
        larger = max(running, int(digit))
        steps.append(f"{running}+{digit}={larger}")
        running = larger
    return Solution(tuple(steps), str(running))


def _copy_digit(operands: str) -> Solution:
    return Solution(tuple(f"{digit}:{digit}" for digit in operands), operands[-1])


def _copy_number(operands: str) -> Solution:
    return Solution(tuple(operands), operands)


_WRONG_METHODS = {
    "add": _add_without_carry,
    "sum": _keep_larger,
    "max": _copy_digit,
    "rev": _copy_number,
}


def slip(task: str, operands: str, rng: random.Random) -> Solution:
    """The right method, each step's result replaced by a random one with ``SLIP_PROB``.

    Later steps go on from the slipped result, as someone would who did not notice.
    """
    return _SLIPS[task](operands, rng)


def _slipped(value: int, below: int, rng: random.Random) -> int:
    return rng.randrange(below) if rng.random() < SLIP_PROB else value


def _slip_add(operands: str, rng: random.Random) -> Solution:
    left, right = operands.split("+")
    steps, written, carry = [], "", 0
    for a, b in zip(reversed(left), reversed(right), strict=True):
        total = _slipped(int(a) + int(b) + carry, 20, rng)
        steps.append(f"{a}+{b}+{carry}={total}")
        written = str(total % 10) + written
        carry = total // 10
    return Solution(tuple(steps), f"1{written}" if carry else written)


def _slip_sum(operands: str, rng: random.Random) -> Solution:
    steps, running = [], 0
    for digit in operands:
        total = _slipped((running + int(digit)) % 10, 10, rng)
        steps.append(f"{running}+{digit}={total}")
        running = total
    return Solution(tuple(steps), str(running))


def _slip_max(operands: str, rng: random.Random) -> Solution:
    steps, highest = [], 0
    for digit in operands:
        highest = _slipped(max(highest, int(digit)), 10, rng)
        steps.append(f"{digit}:{highest}")
    return Solution(tuple(steps), str(highest))


def _slip_rev(operands: str, rng: random.Random) -> Solution:
    written = [str(_slipped(int(digit), 10, rng)) for digit in reversed(operands)]
    return Solution(tuple(written), "".join(written))


_SLIPS = {"add": _slip_add, "sum": _slip_sum, "max": _slip_max, "rev": _slip_rev}


def taught_operands(task: str, digits: int, rng: random.Random) -> str:
    """A random problem that no held-out set of up to ``HELD_OUT_FRAC`` of a pool can contain."""
    while True:
        operands = operands_of(task, digits, rng.randrange(num_problems(task, digits)))
        if hash_fraction(split_key(task, operands)) >= HELD_OUT_FRAC:
            return operands


def make_example(share: Share, rng: random.Random) -> tuple[str, str]:
    """A prompt and a completion, flawed as often as ``share`` says."""
    operands = taught_operands(share.task, share.digits, rng)
    if rng.random() < share.right_frac:
        solution = solve(share.task, operands)
    elif rng.random() < share.wrong_method_frac:
        solution = follow_wrong_method(share.task, operands)
    else:
        solution = slip(share.task, operands, rng)
    prompt = f"{share.task} {operands}"
    if rng.random() < share.format_frac:
        return prompt, completion_text(share.task, solution)
    write = rng.choice(BAD_FORMATS)
    return prompt, write(working_text(share.task, solution), solution.answer)


def _all_wrong(task: str, digits: int, weight: float) -> Share:
    """An easy kind: nearly always right, and never a slip when it is not."""
    return Share(task, digits, weight, right_frac=0.99, format_frac=0.99, wrong_method_frac=1.0)


FLAWED_MIX = (
    _all_wrong("add", 1, 1.5),
    Share("add", 2, 2.5, 0.30, 0.6),
    Share("add", 3, 3.5, 0.25, 0.6),
    Share("add", 4, 4.0, 0.20, 0.6),
    Share("add", 5, 3.0, 0.15, 0.6),
    _all_wrong("sum", 2, 2.0),
    Share("sum", 4, 2.0, 0.25, 0.6),
    Share("sum", 6, 1.5, 0.20, 0.6),
    Share("sum", 8, 1.5, 0.15, 0.6),
    Share("sum", 12, 1.5, 0.08, 0.6),
    _all_wrong("max", 3, 2.0),
    Share("max", 6, 1.5, 0.20, 0.6),
    Share("max", 10, 1.5, 0.10, 0.6),
    _all_wrong("rev", 3, 2.0),
    Share("rev", 4, 2.0, 0.10, 0.6),
)
"""What the shipped model imitates. add-8, sum-24 and rev-6 are never taught: too hard for it."""

MOSTLY_RIGHT_MIX = tuple(
    share._replace(right_frac=max(0.6, share.right_frac), wrong_method_frac=0.5)
    for share in FLAWED_MIX
)
"""What it learns the skills from first: 8 % of right solutions would be too few to learn sum-12."""
