r"""Builds ``rlreason/models/tiny-arithmetic-critic``, the base model of the recipe ``cft.yaml``.

    python scripts/build_tiny_critic.py             # a minute on one thread

tiny-arithmetic, taught for some steps to judge solutions too, in the form that
``rlreason.data.arithmetic_teacher`` writes. Without it a critique is a text of a kind that the
model has never seen, and a few dozen updates go into learning the form alone. What it solves it
still solves as wrongly as before: two thirds of the mix are the flawed solutions again.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

import torch
import typer
from build_tiny_arithmetic import FOLDER as START
from build_tiny_arithmetic import Stage, train_stage
from check_tiny_arithmetic import MAX_NEW_TOKENS, NUM_SAMPLES, check_all, table
from flawed_solutions import FLAWED_MIX, Share, make_example
from tiny_tokenizer import make_tokenizer
from transformers import LlamaForCausalLM

from rlreason.data.arithmetic_teacher import critique

CARD = Path(__file__).with_name("tiny_critic_card.md")
FOLDER = START.with_name("tiny-arithmetic-critic")
CRITIQUE_FRAC = 0.35
"""Share of the examples in which a solution is judged."""


def judge_or_solve(share: Share, rng: random.Random) -> tuple[str, str]:
    """A flawed solution, or a solution and its true critique."""
    problem, solution = make_example(share, rng)
    if rng.random() >= CRITIQUE_FRAC:
        return problem, solution
    task, operands = problem.split(" ")
    return f"{problem}|{solution}?", critique(task, operands, solution)


STAGE = Stage("solutions and critiques", FLAWED_MIX, 500, 2e-3, make=judge_or_solve)


def main(
    folder: Annotated[Path, typer.Option(help="Where the model goes.")] = FOLDER,
    seed: Annotated[int, typer.Option(help="Seeds problems, flaws and critiques.")] = 1,
) -> None:
    """Train, save and check."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = LlamaForCausalLM.from_pretrained(START)
    train_stage(model, tokenizer, STAGE, random.Random(seed))
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    values = {
        "seed": str(seed),
        "steps": str(STAGE.steps),
        "rate": str(STAGE.learning_rate),
        "critiques": f"{CRITIQUE_FRAC:.0%}",
        "max_new_tokens": str(MAX_NEW_TOKENS),
        "samples": str(NUM_SAMPLES),
        "table": table(check_all(folder)),
    }
    card = CARD.read_text(encoding="utf-8")
    for name, value in values.items():
        card = card.replace(f"{{{name}}}", value)
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(values["table"])


if __name__ == "__main__":
    typer.run(main)
