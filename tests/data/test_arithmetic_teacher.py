"""The arithmetic teacher's critiques are true, in the filter's form, and readable by the model."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from rewards.critique import conclusion
from rlreason.data.arithmetic import TASKS, completion_text, num_problems, operands_of, solve
from rlreason.data.arithmetic_teacher import (
    ArithmeticTeacher,
    ArithmeticTeacherConfig,
    critique,
)
from rlreason.errors import DataError
from rlreason.models import resolve_model
from rlreason.types import Problem, TextRequest

FORGOT_CARRIES = r"<think>7+5+0=12;4+8+0=12;3+2+0=5</think>\boxed{522}"


def test_each_step_is_checked_and_the_answer_put_right() -> None:
    assert critique("add", "347+285", FORGOT_CARRIES) == (
        "<think>7+5+0=12;4+8+1=13!;3+2+1=6!</think>\\boxed{632}\nConclusion: wrong"
    )


@pytest.mark.parametrize(
    ("solution", "steps", "verdict"),
    [
        (r"<think>7+5+0=12;4+8+1=13;3+2+1=6</think>\boxed{632}", "", "right"),
        (r"<think>7+5+0=12;4+8+1=13;3+2+1=6</think>\boxed{631}", "", "wrong"),
        (r"<think>7+5+0=12;4+8+1=13;3+2+1=6</think>632", "", "wrong"),
        (r"\boxed{632}", "123", "right"),
        (r"<think>7+5+0=12;4+8+1=13\boxed{632}", "3", "right"),
        (r"<think>9;4+8+1=13;3+2+1=6;1+1=2</think>\boxed{1} \boxed{632}", "1", "right"),
        ("", "123", "wrong"),
        ("<think>", "123", "wrong"),
    ],
)
def test_marks_and_verdict_of_odd_solutions(solution: str, steps: str, verdict: str) -> None:
    text = critique("add", "347+285", solution)
    working = text.partition("</think>")[0].removeprefix("<think>").split(";")
    assert [n for n, step in enumerate(working, start=1) if step.endswith("!")] == [
        int(n) for n in steps
    ]
    assert conclusion(text) == verdict


@given(st.sampled_from(TASKS), st.integers(1, 12), st.integers(0), st.text(max_size=80))
def test_a_right_solution_is_right_and_any_text_gets_a_critique(
    task: str, digits: int, index: int, text: str
) -> None:
    operands = operands_of(task, digits, index % num_problems(task, digits))
    solution = solve(task, operands)
    approved = critique(task, operands, completion_text(task, solution))
    assert approved == f"{completion_text(task, solution)}\nConclusion: right"
    judged = critique(task, operands, text)
    assert f"\\boxed{{{solution.answer}}}" in judged
    assert conclusion(judged) is not None


def test_the_model_can_read_every_character_of_a_critique() -> None:
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("tiny-arithmetic"))
    for task in TASKS:
        operands = operands_of(task, 4, random.Random(0).randrange(num_problems(task, 4)))
        for verdict in (critique(task, operands, "x"), critique(task, operands, "x", flawed=True)):
            ids = tokenizer.encode(verdict)
            assert tokenizer.decode(ids) == verdict


def request(prompt: str, solution: str | None, seed: int = 0) -> TextRequest:
    asked = Problem(id="1", pool="p", prompt=prompt)
    return TextRequest(key=f"k{seed}", problem=asked, prompt="?", solution=solution, seed=seed)


def test_as_many_verdicts_are_turned_round_as_asked_for() -> None:
    teacher = ArithmeticTeacher(ArithmeticTeacherConfig(flawed_frac=0.25))
    asked = [request("add 347+285", FORGOT_CARRIES, seed) for seed in range(400)]
    verdicts = [conclusion(reply.text) for reply in teacher.write(asked)]
    assert 70 <= verdicts.count("right") <= 130
    assert [conclusion(reply.text) for reply in teacher.write(asked)] == verdicts


@pytest.mark.parametrize(
    "prompt",
    ["what is 2+2", "add 1+2 ", "add 1", "add 1+2+3", "add 12+3", "sum 1+2", "rev", "sum \u0664"],
)
def test_other_problems_are_refused_by_name(prompt: str) -> None:
    teacher = ArithmeticTeacher(ArithmeticTeacherConfig())
    with pytest.raises(DataError, match=r"^the arithmetic teacher reads"):
        teacher.check_problem(request(prompt, "x").problem)


def test_it_writes_no_solutions() -> None:
    teacher = ArithmeticTeacher(ArithmeticTeacherConfig())
    with pytest.raises(DataError, match="does not write any"):
        list(teacher.write([request("add 1+2", None)]))
