"""Worked solutions whose length tells right from wrong: what the label-free experiment starts from.

A right solution of add-4, sum-6 and max-10 has 40 to 45 tokens, the end included. A short one stops
thinking after the first step and guesses; a long one starts over when it is done, slips, and
believes the slip. So a reward that sees length alone can find the right ones, if its peak is in the
right place.
"""

from __future__ import annotations

import random

from flawed_solutions import BAD_FORMATS, Share, slip, taught_operands

from rlreason.data.arithmetic import Solution, completion_text, solve, working_text

RIGHT_FRAC, SHORT_FRAC = 0.40, 0.37
"""The others are long."""

POOLS = (("add", 4), ("sum", 6), ("max", 10))
MIX = tuple(Share(task, digits, 1.0, RIGHT_FRAC, 0.6) for task, digits in POOLS)


def _short(solution: Solution, rng: random.Random) -> Solution:
    guess = "".join(rng.choice("0123456789") for _ in solution.answer)
    return Solution(solution.steps[:1], guess)


def _long(solution: Solution, again: Solution) -> Solution:
    return Solution(solution.steps + again.steps, again.answer)


def make_example(share: Share, rng: random.Random) -> tuple[str, str]:
    """A prompt and a completion: right, short or long, and in the right format or not."""
    operands = taught_operands(share.task, share.digits, rng)
    solution = solve(share.task, operands)
    kind = rng.random()
    if kind >= share.right_frac + SHORT_FRAC:
        solution = _long(solution, slip(share.task, operands, rng))
    elif kind >= share.right_frac:
        solution = _short(solution, rng)
    prompt = f"{share.task} {operands}"
    if rng.random() < share.format_frac:
        return prompt, completion_text(share.task, solution)
    write = rng.choice(BAD_FORMATS)
    return prompt, write(working_text(share.task, solution), solution.answer)
