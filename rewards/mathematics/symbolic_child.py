"""The process behind ``symbolic``: reads pairs as JSON lines, asks math-verify, answers in JSON.

Run as a script, and killed by its parent whenever it takes too long. math-verify parses LaTeX
only: its parser of plain expressions evaluates python and is never asked. What it calls equal is
believed when the two sides agree numerically as well.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import sys
from typing import Any

import math_verify
import sympy

_PR_SET_PDEATHSIG = 1
_DIGITS = 50
_SAME = sympy.Rational(1, 10**40)
_NUM_POINTS = 4
_LATEX = [math_verify.LatexExtractionConfig()]


def parse(text: str) -> list[Any]:
    """What math-verify makes of one LaTeX answer."""
    return math_verify.parse(
        f"\\boxed{{{text}}}", _LATEX, fallback_mode="no_fallback", parsing_timeout=None
    )


def equal(gold: str, answer: str) -> bool:
    """Whether math-verify calls the two equal, and their numbers agree."""
    first, second = parse(gold), parse(answer)
    if not first or not second:
        return False
    believed = math_verify.verify(
        first, second, float_rounding=12, allow_set_relation_comp=True, timeout_seconds=None
    )
    return bool(believed) and confirmed(first[0], second[0])


def confirmed(left: Any, right: Any) -> bool:
    """Whether both are the same structure, or agree in 40 digits wherever their letters are."""
    if left == right:
        return True
    if not isinstance(left, sympy.Expr) or not isinstance(right, sympy.Expr):
        return False
    letters = sorted(left.free_symbols | right.free_symbols, key=str)
    for point in range(_NUM_POINTS if letters else 1):
        values = {name: place + point + 2 for place, name in enumerate(letters)}
        sides = [sympy.N(side.subs(values).doit(), _DIGITS) for side in (left, right)]
        if not all(side.is_number and side.is_finite for side in sides):
            return False
        if abs(sides[0] - sides[1]) > _SAME * max(abs(sides[0]), abs(sides[1])):
            return False
    return True


def _serve(requests: Any, replies: Any) -> None:
    for line in requests:
        task = json.loads(line)
        try:
            result = equal(task["gold"], task["answer"])
        except Exception:  # whatever sympy raises on a completion means "not shown to be equal"
            result = False
        replies.write(json.dumps({"result": result}) + "\n")
        replies.flush()


def main() -> None:
    """Serve the parent: ``argv`` is its process id and the memory limit in bytes."""
    parent, num_bytes = int(sys.argv[1]), int(sys.argv[2])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = num_bytes if hard == resource.RLIM_INFINITY else min(num_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    equal("\\frac{1}{2}", "x")  # builds the tables of the parser, before the clock runs
    replies.write(json.dumps({"result": True}) + "\n")
    replies.flush()
    _serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
