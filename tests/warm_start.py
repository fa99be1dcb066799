"""Starts Python programs in forks of a process that has imported torch, vLLM and DeepSpeed.

A start from nothing takes ten seconds of a core, nearly all of them imports, and the suite makes
dozens. What is forked has only imported: it has no model, no process group and no thread of its
own. tests/test_real_runs.py compares runs that were started here with one started from nothing.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
EVERYTHING = (
    "pandas",
    "rlreason.cli",
    "rlreason.restarting",
    "rlreason.learner.deepspeed_learner",
    "rlreason.learner.lora",
    "rlreason.rollout.vllm_engine",
    "rlreason.report",
    "rlreason.report.figures",
    "rlreason.weights.inline",
    "transformers.models.llama.modeling_llama",
    "vllm.entrypoints.llm",
    "vllm.lora.model_manager",
    "vllm.model_executor.models.llama",
    "vllm.v1.attention.backends.cpu_attn",
    "vllm.v1.core.sched.scheduler",
    "vllm.v1.worker.cpu_worker",
)


class Started(NamedTuple):
    """A program under way."""

    parent: WarmProcess
    process: int
    output: Path

    def finish(self, timeout_s: float = 240) -> tuple[int, str]:
        """Its exit code (negative: the signal that ended it), and all that it wrote."""
        waiting = os.pidfd_open(self.process)
        try:
            if not select.select([waiting], [], [], timeout_s)[0]:
                os.kill(self.process, signal.SIGKILL)
                raise TimeoutError(f"{self.output.read_text()}\nkilled after {timeout_s:g} s")
        finally:
            os.close(waiting)
        return self.parent.ask({"reap": self.process}), self.output.read_text()


class WarmProcess:
    """The process whose forks the programs are; they end with it."""

    def __init__(self, folder: Path, imported: Sequence[str] = EVERYTHING) -> None:
        """Begin to import; ``folder`` is for what the programs write."""
        self._folder, self._count = folder, 0
        path = [str(HERE.parent), str(HERE), str(HERE / "algorithms")]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *imported],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None, cwd: Path = HERE
    ) -> Started:
        """Run ``python ARGUMENTS``: a file, or -m and a module, and what is to be in sys.argv."""
        self._count += 1
        output = self._folder / f"{self._count}.txt"
        order = {
            "arguments": [str(argument) for argument in arguments],
            "environment": dict(environment or {}),
            "cwd": str(cwd),
            "output": str(output),
        }
        return Started(self, self.ask({"start": order}), output)

    def run(self, *arguments: str | Path, **options: Any) -> tuple[int, str]:
        """Start it and wait for its end."""
        return self.start(*arguments, **options).finish()

    def ask(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=60)


def serve() -> dict[str, Any]:
    """Obey until the pipe ends, and leave; return in forks alone, with what each is to run."""
    running = set()
    while line := sys.stdin.readline():
        order = json.loads(line)
        if "reap" in order:
            running.discard(order["reap"])
            _, status = os.waitpid(order["reap"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        assert threading.active_count() == 1, threading.enumerate()
        process = os.fork()
        if process == 0:
            return order["start"]
        running.add(process)
        print(process, flush=True)
    for process in running:
        os.kill(process, signal.SIGKILL)
    os._exit(0)


def become(order: dict[str, Any]) -> None:
    """Run the program as the interpreter would."""
    written = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(source, target)
    os.environ |= order["environment"]
    os.chdir(order["cwd"])
    # Called last of all: triton complains of what is never freed, because it is frozen.
    atexit.register(os.dup2, nothing, 2)
    first, *rest = order["arguments"]
    if first == "-m":
        sys.path[0] = order["cwd"]
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(first).parent)
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def main() -> None:
    # To ask for a GPU must not open it: an opened one is of no use to a fork.
    os.environ |= {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    import torch

    from rlreason.rollout.environment import prepare_environment

    # As the product sets both before it imports what reads them.
    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"
    prepare_environment(threads=1)
    for name in sys.argv[1:]:
        __import__(name)
    gc.collect()
    gc.freeze()  # or each collection in a fork, and its end, walks and copies all of it
    become(serve())


if __name__ == "__main__":
    main()
