"""The symbolic process: what only it can read, its limits, and its end."""

import subprocess
import sys

import pytest
from scoring_groups import ends

from rewards.math_answer import verify
from rewards.mathematics.symbolic import SymbolicProcess, SymbolicTimeoutError, is_beyond_grammar

BOMB = {"gold": "5", "answer": "\\prod_{n=1}^{10000000} n"}


@pytest.fixture
def process():
    process = SymbolicProcess()
    yield process
    process.close()


def eventually(process: SymbolicProcess, gold: str, answer: str) -> bool:
    """The answer of a process that may still be starting."""
    for _ in range(20):
        try:
            return process.ask({"gold": gold, "answer": answer})
        except SymbolicTimeoutError:
            continue
    raise AssertionError("the symbolic process never answers")


def test_it_is_not_started_before_it_is_needed_and_then_reused(process: SymbolicProcess) -> None:
    assert process.process_id is None
    assert eventually(process, "\\frac{1}{3}", "\\int_0^1 x^2 dx")
    first = process.process_id
    assert not eventually(process, "\\frac{1}{2}", "\\int_0^1 x^2 dx")
    assert process.process_id == first is not None


def test_a_question_beyond_the_limit_costs_the_process_and_not_the_next_question(
    process: SymbolicProcess,
) -> None:
    assert eventually(process, "3", "\\sum_{k=1}^{2} k")
    stopped = process.process_id
    with pytest.raises(SymbolicTimeoutError):
        process.ask(BOMB)
    assert stopped is not None
    assert ends(stopped)
    assert eventually(process, "3", "\\sum_{k=1}^{2} k")


def test_what_math_verify_calls_equal_must_agree_in_forty_digits(process: SymbolicProcess) -> None:
    doubled = "\\sum_{k=1}^{2} 10^{-20}"
    assert not eventually(process, "10^{-20}", doubled)
    assert eventually(process, "2 \\cdot 10^{-20}", doubled)


PARENT = """
import json, os, signal
from rewards.mathematics.symbolic import SymbolicProcess
process = SymbolicProcess()
process._launch()
assert process._reply(process._child, 60.0)
bomb = {"gold": "5", "answer": "\\\\prod_{n=1}^{10000000000} n"}
process._child.stdin.write(json.dumps(bomb).encode() + b"\\n")
print(process.process_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_dies_with_its_parent_in_the_middle_of_a_question() -> None:
    command = [sys.executable, "-c", PARENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ends(int(done.stdout), within_s=5.0)


@pytest.mark.parametrize(
    "text", ["\\text{\\sum}", "\\sum __import__('os')", "42", "x\\text{ or }y"]
)
def test_prose_and_code_never_reach_it(text: str) -> None:
    assert not is_beyond_grammar(text)


def test_importing_the_verifier_imports_neither_sympy_nor_math_verify() -> None:
    code = (
        "import sys\nfrom rewards.math_answer import verify\n"
        "assert verify('\\\\sqrt{8}', '\\\\boxed{2\\\\sqrt2}').correct\n"
        "print([name for name in ('sympy', 'math_verify', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_bomb_in_the_reward_is_a_timeout() -> None:
    verdict = verify("5", f"\\boxed{{{BOMB['answer']}}}")
    assert (verdict.correct, verdict.outcome) == (False, "timeout")
