r"""A teacher for the problems of ``arithmetic.py`` that knows the method and checks every step.

It writes what a careful reader would: each right step, ``!`` behind one where the solution has
another or none, then the right answer and the verdict. For ``add 347+285`` and a solution that
forgot the carries:

    <think>7+5+0=12;4+8+1=13!;3+2+1=6!</think>\boxed{632}
    Conclusion: wrong

Short on purpose, and in the few characters that tiny-arithmetic can read and write. It costs
nothing and errs only where it is told to (``flawed_frac``), so it serves for the tiny model, for
tests, and as an example of a plug-in: ``use: rlreason.data.arithmetic_teacher:ArithmeticTeacher``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, Field

from rlreason.data.arithmetic import TASKS, Solution, separator_of, solve
from rlreason.errors import DataError
from rlreason.types import Problem, TextReply, TextRequest

_PROMPT = re.compile(rf"({'|'.join(TASKS)}) ([0-9]+)(?:\+([0-9]+))?")
_THINKING = re.compile(r"<think>(.*?)(?:</think>|\\boxed|$)", re.DOTALL)
_BOX = re.compile(r"\\boxed\{([^{}]*)\}")


class ArithmeticTeacherConfig(BaseModel):
    """Options of ArithmeticTeacher."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    flawed_frac: float = Field(default=0.0, ge=0, le=1)
    """Share of critiques that end in the opposite verdict: something for the filter to find."""


class ArithmeticTeacher:
    """Keeps ``protocols.Writer`` for critiques."""

    Config = ArithmeticTeacherConfig

    def __init__(self, config: ArithmeticTeacherConfig) -> None:
        self._flawed_frac = config.flawed_frac

    def check_problem(self, problem: Problem) -> None:
        """Refuse a problem that is not one of arithmetic."""
        read_prompt(problem)

    def write(self, requests: Sequence[TextRequest]) -> Iterator[TextReply]:
        """Yield a critique for each request.

        Raises:
            DataError: If a problem is not one of arithmetic, or there is no solution to judge.
        """
        for request in requests:
            if request.solution is None:
                raise DataError("the arithmetic teacher judges solutions; it does not write any")
            task, operands = read_prompt(request.problem)
            flawed = random.Random(request.seed).random() < self._flawed_frac
            text = critique(task, operands, request.solution, flawed=flawed)
            yield TextReply(key=request.key, text=text)


def read_prompt(problem: Problem) -> tuple[str, str]:
    """Task and operands of a problem.

    Raises:
        DataError: If it is not one of ``TASKS`` in this module's writing.
    """
    text = problem.prompt if isinstance(problem.prompt, str) else ""
    found = _PROMPT.fullmatch(text)
    # Sums, and sums alone, have two numbers; the method wants them equally long.
    lengths = [len(number) for number in found.groups()[1:] if number] if found else []
    if found is None or len(lengths) != 1 + (found[1] == "add") or len(set(lengths)) != 1:
        raise DataError(
            f"the arithmetic teacher reads {', '.join(TASKS)} problems such as 'add 347+285' "
            f"only, not {problem.prompt!r:.80}"
        )
    return found[1], text.partition(" ")[2]


def critique(task: str, operands: str, solution: str, *, flawed: bool = False) -> str:
    """The checked steps, the right answer and the verdict; ``flawed`` turns the verdict round."""
    right = solve(task, operands)
    written = _steps(task, solution)
    checked = [
        step if index < len(written) and written[index] == step else f"{step}!"
        for index, step in enumerate(right.steps)
    ]
    verdict = "right" if _is_right(right, solution) != flawed else "wrong"
    working = separator_of(task).join(checked)
    return f"<think>{working}</think>\\boxed{{{right.answer}}}\nConclusion: {verdict}"


def _steps(task: str, solution: str) -> list[str]:
    found = _THINKING.search(solution)
    return found[1].strip().split(separator_of(task)) if found else []


def _is_right(right: Solution, solution: str) -> bool:
    """By the last box alone, as the reward grades: a right answer may come out of wrong steps."""
    boxes = _BOX.findall(solution)
    return bool(boxes) and boxes[-1].strip() == right.answer
