"""Rewards with the mistakes that ``rlreason reward test`` is there to find."""

import os
import random
import threading
from pathlib import Path

from pydantic import BaseModel

from rlreason.errors import DataError
from rlreason.types import Problem


def _is_right(problem: Problem, completion: str) -> bool:
    """The last line is the answer, and nothing else."""
    return bool(completion) and completion.rstrip("\n").rpartition("\n")[2] == problem.answer


class ContainsGold:
    bounds = (0.0, 1.0)

    def __call__(self, problem: Problem, completion: str) -> float:
        return float(str(problem.answer) in completion)


class LastLine:
    """No mistake: only its form is unusual."""

    bounds = (0.0, 1.0)
    needs_answer = True

    def __call__(self, problem: Problem, completion: str) -> float:
        return float(_is_right(problem, completion))


class Shouts:
    """No mistake, but no usual form either."""

    bounds = (0.0, 1.0)

    def __call__(self, problem: Problem, completion: str) -> float:
        return float(completion == f"HERE IT IS {problem.answer}!")


class TemperConfig(BaseModel):
    temper: str


class Tempered:
    """Right about answers, and wrong in one other way."""

    Config = TemperConfig
    bounds = (0.0, 1.0)

    def __init__(self, config: TemperConfig) -> None:
        self._temper = getattr(self, f"_{config.temper}")
        self._calls = 0
        self._before = ""
        self._hoard = b""

    def __call__(self, problem: Problem, completion: str) -> float:
        self._calls += 1
        value = self._temper(problem, completion)
        self._before = completion
        return float(_is_right(problem, completion)) if value is None else value

    def _counts(self, problem: Problem, completion: str) -> float | None:
        return 0.1 / self._calls if completion == "" else None

    def _looks_back(self, problem: Problem, completion: str) -> float | None:
        return len(self._before) % 89 / 1000 if completion == "" else None

    def _by_process(self, problem: Problem, completion: str) -> float | None:
        return (os.getpid() % 1000) / 1e6 if completion == "" else None

    def _seeded(self, problem: Problem, completion: str) -> float | None:
        return random.random() / 10 if completion == "" else None

    def _leaves_bounds(self, problem: Problem, completion: str) -> float | None:
        return -0.5 if completion == "\x00" else None

    def _raises(self, problem: Problem, completion: str) -> float | None:
        return float(int("7" * 5000)) if "7" * 5000 in completion else None

    def _blames_data(self, problem: Problem, completion: str) -> float | None:
        if completion.isspace():
            raise DataError("there is no answer")
        return None

    def _hangs(self, problem: Problem, completion: str) -> float | None:
        if completion.startswith("{" * 10_000):
            threading.Event().wait()
        return None

    def _hoards(self, problem: Problem, completion: str) -> float | None:
        if completion == "":
            self._hoard = bytes(range(256)) * (2**20)
        return None

    def _executes(self, problem: Problem, completion: str) -> float | None:
        if "Path(" in completion and completion.startswith("__import__"):
            Path(completion.split('"')[3]).touch()  # what eval would have done
        return None


class Always:
    """Neither right nor wrong answers change it, and it does not say so."""

    bounds = (0.0, 1.0)

    def __call__(self, problem: Problem, completion: str) -> float:
        return 1.0


class LabelFree(Always):
    needs_answer = False


class TakesNothing:
    bounds = (0.0, 1.0)

    def __call__(self, problem: Problem, completion: str) -> float:
        raise DataError("it is not a chess position")


class OnlyWords:
    """Accepts answers in letters alone, and says so by an exception when it is called."""

    bounds = (0.0, 1.0)
    needs_answer = True

    def __call__(self, problem: Problem, completion: str) -> float:
        if not str(problem.answer).isalpha():
            raise ValueError("a word, please")
        return float(_is_right(problem, completion))
