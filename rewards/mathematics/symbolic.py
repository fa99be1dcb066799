"""The last resort: math-verify in a process of its own, started when first needed and reused.

It sees only what the grammar here lacks (sums, integrals, limits). A question that takes longer
than the limit costs the process, and the answer is no; the next question gets a new one.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

LIMIT_S = 1.0
"""Seconds for one question, from the moment when the process is ready for it."""
_START_LIMIT_S = 1.3
"""Seconds to wait for a new process; it goes on starting when they have passed."""
MEMORY_BYTES = 2**30

_BEYOND_GRAMMAR = re.compile(
    r"\\(?:sum|prod|int|iint|iiint|oint|lim|cap|pmod|bmod|mod|nabla|partial|cases|subset|subseteq)(?![A-Za-z])"
)
_FOREIGN = re.compile(r"\\text|__|[;\"#@`?]|\\(?:input|write|def|catcode|csname)")


class SymbolicTimeoutError(RuntimeError):
    """A question took longer than LIMIT_S, or its process died of it."""


def is_beyond_grammar(text: str) -> bool:
    """Whether ``text`` holds mathematics that only the symbolic process reads, and no prose."""
    return bool(_BEYOND_GRAMMAR.search(text)) and not _FOREIGN.search(text)


class SymbolicProcess:
    """One child, its pipes, and the clock on it."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._is_ready = False

    def ask(self, question: dict[str, str]) -> bool:
        """The child's answer.

        Raises:
            SymbolicTimeoutError: If there is none within the limit.
        """
        child = self._running()
        assert child.stdin is not None, "the child has pipes"
        if not self._is_ready:
            self._is_ready = self._reply(child, _START_LIMIT_S)
        try:
            child.stdin.write(json.dumps(question).encode() + b"\n")
            child.stdin.flush()
            return self._reply(child, LIMIT_S)
        except (OSError, ValueError, SymbolicTimeoutError) as error:
            self.close()
            self._launch()  # its imports run while the caller goes on
            raise SymbolicTimeoutError("the symbolic process was stopped") from error

    def close(self) -> None:
        """Kill the child, if there is one."""
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def process_id(self) -> int | None:
        """The child's, while there is one."""
        return None if self._child is None else self._child.pid

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._owner != os.getpid() or self._child.poll() is not None:
            self.close()
            self._launch()
        assert self._child is not None, "just launched"
        return self._child

    def _launch(self) -> None:
        self._child, self._owner, self._is_ready = self._start(), os.getpid(), False

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("symbolic_child.py")
        # -P: the script's own folder holds numbers.py, which must not hide python's module.
        return subprocess.Popen(
            [sys.executable, "-P", str(script), str(os.getpid()), str(MEMORY_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    @staticmethod
    def _reply(child: subprocess.Popen[bytes], limit_s: float) -> bool:
        assert child.stdout is not None, "the child has pipes"
        deadline = time.monotonic() + limit_s
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select(
                [child.stdout], [], [], max(0.0, deadline - time.monotonic())
            )
            chunk = os.read(child.stdout.fileno(), 4096) if ready else b""
            if not chunk:
                raise SymbolicTimeoutError("no answer")
            line += chunk
        return bool(json.loads(line)["result"])


PROCESS = SymbolicProcess()
atexit.register(PROCESS.close)


def equal(gold: str, answer: str) -> bool:
    """Whether math-verify calls the two equal; the caller has checked what they hold."""
    return PROCESS.ask({"gold": gold, "answer": answer})
