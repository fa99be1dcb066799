r"""How well a tiny-arithmetic model answers each pool: greedy and sampled accuracy, and format.

Problems are the held-out ones of the default run: of each pool's 2,000 problems (seed 0), the 64
whose split key hashes lowest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from rlreason.data.arithmetic import ArithmeticSource, hash_fraction

SOLVED = (("add", 1), ("sum", 2), ("max", 3), ("rev", 3))
LEARNABLE = (("add", 3), ("add", 4), ("add", 5), ("sum", 6), ("sum", 12), ("max", 10))
TOO_HARD = (("add", 8), ("sum", 24), ("rev", 6))
OTHERS = (("add", 2), ("sum", 4), ("sum", 8), ("max", 6), ("rev", 4))
MIXED = (
    *(("add", k) for k in (2, 3, 4, 5)),
    *(("sum", k) for k in (4, 6, 8)),
    ("max", 6),
    ("max", 10),
)
"""The nine pools whose solutions are mostly flawed though well inside the model's reach."""
GROUPS = {"solved": SOLVED, "learnable": LEARNABLE, "too hard": TOO_HARD, "mixed": MIXED}

NUM_PROBLEMS = 64
NUM_SAMPLES = 4
MAX_NEW_TOKENS = 96
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_STRICT = re.compile(r"<think>(?:(?!</?think>|\\boxed).)*</think>\\boxed\{[^{}]*\}", re.DOTALL)

Pool = tuple[str, int]


class PoolCheck(NamedTuple):
    """Shares of one pool's completions. Right: the last box holds the answer, in any format."""

    greedy_accuracy: float
    sampled_accuracy: float
    greedy_format: float
    sampled_format: float


def is_right(completion: str, answer: str) -> bool:
    """Whether the last ``\\boxed{}`` holds the answer."""
    boxes = _BOXED.findall(completion)
    return bool(boxes) and boxes[-1] == answer


def is_strict(completion: str) -> bool:
    """Whether the completion is one ``<think>`` block directly followed by one box."""
    return _STRICT.fullmatch(completion) is not None


def held_out_rows(pool: Pool) -> list[dict[str, Any]]:
    """The pool's problems of lowest hash."""
    rows = list(ArithmeticSource(*pool).read())
    return sorted(rows, key=lambda row: hash_fraction(row["metadata"]["split_key"]))[:NUM_PROBLEMS]


def complete(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], samples: int
) -> list[str]:
    """``samples`` completions of each prompt at temperature 1, or the greedy one for 0."""
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    inputs = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True
    )
    options = (
        {"do_sample": False}
        if samples == 0
        else {
            "do_sample": True,
            "temperature": 1.0,
            "top_k": 0,
            "num_return_sequences": samples,
        }
    )
    output = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, **options)
    completions = output[:, inputs["input_ids"].shape[1] :]
    return list(tokenizer.batch_decode(completions, skip_special_tokens=True))


def check_pool(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, pool: Pool) -> PoolCheck:
    """Greedy and sampled accuracy and format share of one pool."""
    rows = held_out_rows(pool)
    prompts = [str(row["prompt"]) for row in rows]
    answers = [str(row["answer"]) for row in rows]
    greedy = complete(model, tokenizer, prompts, 0)
    sampled = complete(model, tokenizer, prompts, NUM_SAMPLES)
    repeated = [answer for answer in answers for _ in range(NUM_SAMPLES)]
    return PoolCheck(
        _mean(map(is_right, greedy, answers)),
        _mean(map(is_right, sampled, repeated)),
        _mean(map(is_strict, greedy)),
        _mean(map(is_strict, sampled)),
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def check_all(folder: Path) -> dict[Pool, PoolCheck]:
    """Check every pool that the model card speaks of."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    return {
        pool: check_pool(model, tokenizer, pool)
        for pool in sorted({*SOLVED, *LEARNABLE, *TOO_HARD, *OTHERS})
    }


def table(checks: Mapping[Pool, PoolCheck]) -> str:
    """The checks as a Markdown table, with the means of the groups of pools."""
    lines = [
        "| pool | greedy accuracy | sampled accuracy | greedy format | sampled format |",
        "|---|---|---|---|---|",
    ]
    for (task, digits), check in checks.items():
        lines.append(f"| {task}-{digits} | " + " | ".join(f"{value:.2f}" for value in check) + " |")
    for name, pools in GROUPS.items():
        columns = zip(*(checks[pool] for pool in pools), strict=True)
        means = " | ".join(f"{_mean(column):.3f}" for column in columns)
        lines.append(f"| mean of {name} | {means} |")
    return "\n".join(lines)
