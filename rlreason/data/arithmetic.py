r"""Seeded arithmetic problems whose worked solutions a very small model can write.

    add-k   ``add 347+285``  ->  ``<think>7+5+0=12;4+8+1=13;3+2+1=6</think>\boxed{632}``
    sum-k   ``sum 4718``     ->  ``<think>0+4=4;4+7=1;1+1=2;2+8=0</think>\boxed{0}``   (modulo 10)
    max-k   ``max 4718``     ->  ``<think>4:4;7:7;1:7;8:8</think>\boxed{8}``
    rev-k   ``rev 123``      ->  ``<think>3,2,1</think>\boxed{321}``

``digits`` (k) sets the difficulty. A problem is a number below ``num_problems(task, digits)``, so
drawing unique problems never has to guess whether any are left. No torch here.
"""

from __future__ import annotations

import difflib
import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from rlreason.errors import DataError

MAX_DIGITS = 64
"""Longest problem that a source makes; the shipped model sees 256 tokens in all."""


class Solution(NamedTuple):
    """A worked solution: what is written while thinking, and the answer."""

    steps: tuple[str, ...]
    answer: str


class _Task(NamedTuple):
    count: Callable[[int], int]
    """Digits -> number of different problems."""
    operands: Callable[[int, int], str]
    """Index and digits -> text behind the task's name."""
    solve: Callable[[str], Solution]
    """Text behind the task's name -> right solution."""
    separator: str
    """Between two steps of the working."""


def _number_span(digits: int) -> tuple[int, int]:
    """Smallest number of ``digits`` digits, and how many such numbers there are; 0 is one digit."""
    lowest = 10 ** (digits - 1) if digits > 1 else 0
    return lowest, 10**digits - lowest


def _addends(index: int, digits: int) -> str:
    lowest, span = _number_span(digits)
    left, right = divmod(index, span)
    return f"{lowest + left}+{lowest + right}"


def _solve_add(operands: str) -> Solution:
    left, right = operands.split("+")
    steps, written, carry = [], "", 0
    for a, b in zip(reversed(left), reversed(right), strict=True):
        total = int(a) + int(b) + carry
        steps.append(f"{a}+{b}+{carry}={total}")
        written = str(total % 10) + written
        carry = total // 10
    return Solution(tuple(steps), f"1{written}" if carry else written)


def _solve_sum(operands: str) -> Solution:
    steps, running = [], 0
    for digit in operands:
        total = (running + int(digit)) % 10
        steps.append(f"{running}+{digit}={total}")
        running = total
    return Solution(tuple(steps), str(running))


def _solve_max(operands: str) -> Solution:
    steps, highest = [], "0"
    for digit in operands:
        highest = max(highest, digit)
        steps.append(f"{digit}:{highest}")
    return Solution(tuple(steps), highest)


def _solve_rev(operands: str) -> Solution:
    return Solution(tuple(reversed(operands)), operands[::-1])


def _digit_string(index: int, digits: int) -> str:
    return str(index).zfill(digits)


def _nonzero_digit_string(index: int, digits: int) -> str:
    """Without zeros: a reversed number must not start with one, as 021 and 21 are one integer."""
    text = ""
    for _ in range(digits):
        index, digit = divmod(index, 9)
        text = str(digit + 1) + text
    return text


_TASKS = {
    "add": _Task(lambda digits: _number_span(digits)[1] ** 2, _addends, _solve_add, ";"),
    "sum": _Task(lambda digits: 10**digits, _digit_string, _solve_sum, ";"),
    "max": _Task(lambda digits: 10**digits, _digit_string, _solve_max, ";"),
    "rev": _Task(lambda digits: 9**digits, _nonzero_digit_string, _solve_rev, ","),
}

TASKS = tuple(_TASKS)
"""Names of the tasks."""


def num_problems(task: str, digits: int) -> int:
    """How many different problems ``task`` has at ``digits`` digits."""
    return _TASKS[task].count(digits)


def operands_of(task: str, digits: int, index: int) -> str:
    """The problem number ``index``, without the task's name: ``347+285``."""
    return _TASKS[task].operands(index, digits)


def solve(task: str, operands: str) -> Solution:
    """The right worked solution."""
    return _TASKS[task].solve(operands)


def separator_of(task: str) -> str:
    """What stands between two steps of ``task``'s working."""
    return _TASKS[task].separator


def completion_text(task: str, solution: Solution) -> str:
    r"""``solution`` in the strict format: ``<think>...</think>\boxed{...}`` and nothing else."""
    return f"<think>{working_text(task, solution)}</think>\\boxed{{{solution.answer}}}"


def working_text(task: str, solution: Solution) -> str:
    """The steps alone, joined as ``task`` joins them."""
    return separator_of(task).join(solution.steps)


def split_key(task: str, operands: str) -> str:
    """What the train/held-out split hashes: one key for 347+285 and 285+347, else the prompt."""
    if task == "add":
        operands = "+".join(sorted(operands.split("+")))
    return f"{task} {operands}"


def hash_fraction(key: str) -> float:
    """Where ``key`` lies in [0, 1): the first 8 bytes of its SHA-256, big-endian, over 2^64."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


@dataclass(frozen=True, slots=True)
class ArithmeticSource:
    """``size`` different problems of one task and length, in an order fixed by ``seed``."""

    task: str
    """One of ``TASKS``."""
    digits: int
    """Digits of each addend, or of the sequence."""
    size: int = 2000
    """Problems to make; fewer when there are not so many different ones (add-1 has 100)."""
    seed: int = 0
    """Chooses which problems, and their order."""

    def __post_init__(self) -> None:
        if self.task not in _TASKS:
            close = difflib.get_close_matches(self.task, TASKS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(TASKS)}"
            raise DataError(f"task = {self.task!r}: no such arithmetic task; {hint}")
        if not 1 <= self.digits <= MAX_DIGITS:
            raise DataError(f"digits = {self.digits!r}: must be from 1 to {MAX_DIGITS}")
        if self.size < 1:
            raise DataError(f"size = {self.size!r}: must be at least 1")

    def read(self) -> Iterator[dict[str, Any]]:
        """Rows with ``id``, ``prompt``, ``answer`` and ``metadata``; the same on every call."""
        rng = random.Random(f"{self.task}-{self.digits}-{self.seed}")
        for index in _unique_indices(num_problems(self.task, self.digits), self.size, rng):
            yield self._row(operands_of(self.task, self.digits, index))

    def _row(self, operands: str) -> dict[str, Any]:
        solution = solve(self.task, operands)
        return {
            "id": operands,
            "prompt": f"{self.task} {operands}",
            "answer": solution.answer,
            "metadata": {
                "split_key": split_key(self.task, operands),
                "solution": completion_text(self.task, solution),
            },
        }


def _unique_indices(total: int, count: int, rng: random.Random) -> list[int]:
    """``min(count, total)`` different numbers below ``total``."""
    if total <= 4 * count:
        order = list(range(total))
        rng.shuffle(order)
        return order[:count]
    # At most a quarter is ever taken, so a redraw is rare and the loop is short. (random.sample
    # refuses ranges beyond 2^63, and sum-24 has 10^24 problems.)
    chosen: dict[int, None] = {}
    while len(chosen) < count:
        chosen[rng.randrange(total)] = None
    return list(chosen)
