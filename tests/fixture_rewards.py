"""Rewards that misbehave on purpose. They act on what the completion says, as model text would."""

import ctypes
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rlreason.errors import DataError
from rlreason.types import Problem, Score


def _wait_for_ever() -> None:
    threading.Event().wait()


def _fork_and_wait(pid_file: str, *, new_session: bool) -> None:
    child = os.fork()
    if child == 0:
        if new_session:
            os.setsid()
        _wait_for_ever()
    Path(pid_file).write_text(str(child))


def _ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


class Obedient:
    """Does what the completion says: ``score 0.5``, ``hang``, ``exit``, ..."""

    bounds = (-1.0, 1.0)

    def __call__(self, problem: Problem, completion: str) -> float | Score:
        command, _, argument = completion.partition(" ")
        return getattr(self, f"_{command}")(argument)

    def _score(self, argument: str) -> float:
        return float(argument)

    def _parts(self, argument: str) -> Score:
        return Score(value=float(argument), parts={"half": float(argument) / 2})

    def _unparseable(self, argument: str) -> Score:
        return Score(value=float(argument), outcome="unparseable")

    def _text(self, argument: str) -> str:
        return argument

    def _hang(self, argument: str) -> float:
        _ignore_signals()
        while True:
            pass

    def _hold_the_interpreter_lock(self, argument: str) -> float:
        return float(len(str(9 ** (9**9))))

    def _eat(self, argument: str) -> float:
        return float(not bytearray(int(float(argument) * 2**30)))

    def _recurse(self, argument: str) -> float:
        return self._recurse(argument)

    def _exit(self, argument: str) -> float:
        os._exit(3)

    def _exit_politely(self, argument: str) -> float:
        sys.exit(3)

    def _segfault(self, argument: str) -> float:
        return float(ctypes.string_at(0)[0])

    def _kill_self(self, argument: str) -> float:
        os.kill(os.getpid(), signal.SIGKILL)
        _wait_for_ever()
        return 1.0

    def _killed_once(self, argument: str) -> float:
        marker = Path(argument)
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    def _raise(self, argument: str) -> float:
        raise KeyError(argument)

    def _data(self, argument: str) -> float:
        raise DataError(argument)

    def _fork(self, argument: str) -> float:
        _fork_and_wait(argument, new_session=False)
        return 1.0

    def _fork_then_exit(self, argument: str) -> float:
        _fork_and_wait(argument, new_session=False)
        os._exit(3)

    def _fork_a_daemon_then_hang(self, argument: str) -> float:
        _fork_and_wait(argument, new_session=True)
        return self._hang(argument)

    def _return_twice(self, argument: str) -> float:
        os.fork()
        return 1.0

    def _leave_an_alarm(self, argument: str) -> float:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        return 1.0

    def _busy(self, argument: str) -> float:
        end = time.monotonic() + float(argument)
        while time.monotonic() < end:
            pass
        return 1.0

    def _hoard(self, argument: str) -> float:
        self._hoarded = bytearray(int(float(argument) * 2**30))
        return 1.0

    def _detach(self, argument: str) -> float:
        middle = os.fork()
        if middle == 0:
            _fork_and_wait(argument, new_session=True)
            os._exit(0)
        os.waitpid(middle, 0)
        return 1.0

    def _tell(self, argument: str) -> float:
        Path(argument).write_text("scored")
        return 1.0

    def _tell_pid_then_hang(self, argument: str) -> float:
        Path(argument).write_text(str(os.getpid()))
        return self._hang(argument)

    def _tell_time_then_hang(self, argument: str) -> float:
        Path(argument).write_text(str(time.monotonic()))
        return self._hang(argument)

    def _kill_the_supervisor(self, argument: str) -> float:
        Path(argument).write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGKILL)
        return self._hang(argument)

    def _random(self, argument: str) -> float:
        return random.random()

    def _secrets(self, argument: str) -> float:
        environment = Path("/proc/self/environ").read_text()
        return float(argument in environment or argument in os.environ.values())

    def _imported(self, argument: str) -> float:
        return float(argument in sys.modules)

    def _count(self, argument: str) -> Score:
        self._counted = getattr(self, "_counted", 0) + 1
        return Score(value=0.0, parts={"count": self._counted})

    def _pid(self, argument: str) -> Score:
        return Score(value=0.0, parts={"pid": float(os.getpid())})


class NoBounds:
    def __call__(self, problem: Problem, completion: str) -> float:
        return 0.0


class UpsideDown:
    bounds = (1.0, 0.0)

    def __call__(self, problem: Problem, completion: str) -> float:
        return 0.0


class NeedsAnswer:
    bounds = (0.0, 2.0)
    needs_answer = True

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale

    def __call__(self, problem: Problem, completion: str) -> float:
        return self._scale * float(completion == problem.answer)


class DiesInWorkers:
    bounds = (0.0, 1.0)

    def __init__(self, driver: int) -> None:
        if os.getpid() != driver:
            os._exit(7)

    def __call__(self, problem: Problem, completion: str) -> float:
        return 0.0


class Ranked:
    """A reward of groups: the rank of each text among those that hold any; some texts are bombs."""

    bounds = (0.0, 1.0)

    def score_group(self, problem: Problem, completions: Sequence[str]) -> list[Score]:
        for command in completions:
            if command in ("hang", "exit", "raise", "recurse"):
                getattr(Obedient(), f"_{command}")("")
        if "data" in completions:
            raise DataError("no order")
        texts = sorted(text for text in completions if text)
        top = max(1, len(texts) - 1)
        scores = [
            Score(value=texts.index(text) / top, parts={"size": len(completions)})
            if text
            else Score(value=0.0, outcome="unparseable")
            for text in completions
        ]
        return scores[:-1] if "lose" in completions else scores


class Length:
    """The number of tokens."""

    bounds = (0.0, 100.0)
    needs_tokens = True

    def __call__(
        self, problem: Problem, completion: str, *, completion_ids: Sequence[int]
    ) -> float:
        return float(len(completion_ids))


class Lengths:
    """The numbers of tokens of a group."""

    bounds = (0.0, 100.0)
    needs_tokens = True

    def score_group(
        self,
        problem: Problem,
        completions: Sequence[str],
        *,
        completion_ids: Sequence[Sequence[int]],
    ) -> list[float]:
        return [float(len(ids)) for ids in completion_ids]
