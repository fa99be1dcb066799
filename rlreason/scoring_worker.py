"""One reward worker: a process that builds the rewards once and works through one task at a time.

Started by ``scoring_supervisor``, which may kill it at any moment: it holds nothing that anyone
else needs. Nothing here imports torch.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import pickle
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from numbers import Real
from pathlib import Path
from typing import get_args

from rlreason.errors import DataError, PluginError
from rlreason.plugins import build_plugin
from rlreason.protocols import GroupReward, Reward
from rlreason.scoring_messages import KEEP, READY, REPLACE, Answer, RewardSpec, Task
from rlreason.types import Outcome, Score

_PR_SET_PDEATHSIG = 1
_LONGEST_MESSAGE = 2000
_NO_SPACE = ("failed to map segment", "annot allocate memory", "MemoryError")


def check_bounds(reward: Reward | GroupReward, spec: RewardSpec) -> tuple[float, float]:
    """The reward's bounds, or a PluginError if it cannot be called or they are no interval."""
    path, _, where = spec
    bounds = getattr(reward, "bounds", None)
    if not (callable(reward) or isinstance(reward, GroupReward)) or bounds is None:
        raise PluginError(
            f"{where} ({path}): a reward needs bounds = (lowest, highest) and "
            "__call__(self, problem, completion) or score_group(self, problem, completions)"
        )
    pair = tuple(bounds) if isinstance(bounds, Sequence) else ()
    if len(pair) != 2 or not all(_is_finite(end) for end in pair) or not pair[0] < pair[1]:
        raise PluginError(
            f"{where} ({path}): bounds = {bounds!r}; they are two finite numbers, lowest first"
        )
    return float(pair[0]), float(pair[1])


def judge(reward: Reward | GroupReward, bounds: tuple[float, float], task: Task) -> list[Answer]:
    """Call ``reward`` and say what came of it. Anything that it raises becomes an answer.

    Returns:
        One answer per completion, or a single one that holds for all of them.
    """
    start = time.perf_counter()
    try:
        answers = [_checked(result, bounds) for result in _results(reward, task)]
    except (MemoryError, RecursionError):
        answers = [Answer(outcome="over_limit")]
    except DataError as error:
        answers = [Answer(fault="data", message=str(error)[:_LONGEST_MESSAGE])]
    except PluginError as error:
        answers = [Answer(fault="contract", message=str(error)[:_LONGEST_MESSAGE])]
    except BaseException as error:  # sys.exit too: the plug-in boundary attributes, nothing escapes
        answers = [Answer(outcome="crash", fault="raised", message=_describe(error))]
    seconds = (time.perf_counter() - start) / len(task.completions)
    for answer in answers:
        answer["seconds"] = seconds
    return answers


def _results(reward: Reward | GroupReward, task: Task) -> list[float | Score]:
    if isinstance(reward, GroupReward):
        score_group: Callable[..., Sequence[float | Score]] = reward.score_group
        tokens = {} if task.completion_ids is None else {"completion_ids": task.completion_ids}
        results = list(score_group(task.problem, task.completions, **tokens))
        if len(results) != len(task.completions):
            raise PluginError(f"{len(results)} scores for a group of {len(task.completions)}")
        return results
    (text,) = task.completions
    score: Callable[..., float | Score] = reward
    if task.completion_ids is None:
        return [score(task.problem, text)]
    return [score(task.problem, text, completion_ids=task.completion_ids[0])]


def _checked(result: float | Score, bounds: tuple[float, float]) -> Answer:
    score = result if isinstance(result, Score) else Score(value=result)
    floor, highest = bounds
    if not _is_finite(score.value) or not floor <= score.value <= highest:
        raise PluginError(f"returned {result!r:.200}; its bounds are {bounds}")
    if score.outcome not in get_args(Outcome):
        raise PluginError(f"outcome {score.outcome!r:.50}; known: {', '.join(get_args(Outcome))}")
    if score.outcome != "ok" and score.value != floor:
        raise PluginError(
            f"outcome {score.outcome} with value {score.value}; all but ok score the floor {floor}"
        )
    if not all(isinstance(name, str) and _is_finite(part) for name, part in score.parts.items()):
        raise PluginError(f"parts {dict(score.parts)!r:.200}; they map names to finite numbers")
    parts = {name: float(part) for name, part in score.parts.items()}
    answer = Answer(outcome=score.outcome, value=float(score.value), parts=parts)
    if score.outcome == "infra":
        answer["message"] = f"it returned the outcome infra, parts {parts}"[:_LONGEST_MESSAGE]
    return answer


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return _with_remedy(f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE] + place)


def _with_remedy(message: str) -> str:
    """The loader speaks of segments where a library needs more address space than there is."""
    if not any(sign in message for sign in _NO_SPACE):
        return message
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] / 2**30
    return (
        f"{message}; the worker has {limit:.2f} GiB of address space, raise "
        "scoring.memory_limit_gib for a reward that imports large libraries"
    )


def _die_with(supervisor: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:  # it died before the line above
        os._exit(1)


def _limit_memory(num_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split(maxsplit=1)[0])
    return pages * resource.getpagesize()


def _serve(connection: Connection, specs: list[RewardSpec], memory_limit: int) -> None:
    rewards: list[Reward | GroupReward] = [
        build_plugin(path, options, where=where) for path, options, where in specs
    ]
    bounds = [check_bounds(reward, spec) for reward, spec in zip(rewards, specs, strict=True)]
    # Half of the memory is promised to each completion, whatever those before it left behind.
    promised = memory_limit // 2
    if _address_space() > promised:
        raise PluginError(
            f"the rewards alone take {_address_space() / 2**30:.2f} GiB of address space, more "
            f"than half of scoring.memory_limit_gib = {memory_limit / 2**30:.2f}; raise it"
        )
    process = os.getpid()
    connection.send_bytes(READY)
    while True:
        task: Task = pickle.loads(connection.recv_bytes())
        random.seed(task.seed)
        answers = judge(rewards[task.reward], bounds[task.reward], task)
        if os.getpid() != process:  # a child that the reward forked came back here
            os._exit(0)
        signal.setitimer(signal.ITIMER_REAL, 0)  # a reward's alarm may not hit the next completion
        fitness = REPLACE if _address_space() > promised else KEEP
        connection.send_bytes(fitness + json.dumps(answers).encode())


def main() -> None:
    """Serve the supervisor: ``argv`` is the descriptor of the pipe to it, and its process id."""
    connection = Connection(int(sys.argv[1]))
    _die_with(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        specs, memory_limit = pickle.loads(connection.recv_bytes())
        _limit_memory(memory_limit)
        _serve(connection, specs, memory_limit)
    except (EOFError, ConnectionError):
        return  # the supervisor left
    except (PluginError, MemoryError) as error:
        message = _with_remedy(f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE])
        connection.send_bytes(message.encode())
