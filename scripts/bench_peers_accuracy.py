"""Greedy held-out accuracy of policy folders, each loaded and run by plain transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewards.boxed_exact import BoxedExact, BoxedExactConfig
from rlreason.config_file import load_config
from rlreason.preflight import preflight
from rlreason.types import Problem

BATCH = 192


def held_out_accuracy(request: Mapping[str, Any]) -> dict[str, float]:
    """Name -> accuracy for every folder in ``request["policies"]``, and for the ``base`` model.

    All answer the same problems, held out by the recipe and so trained on by no contender; the
    last box decides, whatever stands around it.
    """
    torch.set_num_threads(request["threads"])
    config = load_config(request["recipe"], request["overrides"])
    plan = preflight(config)
    problems = [problem for pool in plan.held_out.values() for problem in pool]
    policies = {"base": str(plan.model), **request["policies"]}
    limit = config.rollout.max_completion_tokens
    prompts = [list(plan.encoder.encode(problem)) for problem in problems]
    return {name: _accuracy(path, problems, prompts, limit) for name, path in policies.items()}


def _accuracy(
    path: str, problems: Sequence[Problem], prompts: Sequence[list[int]], limit: int
) -> float:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    reward = BoxedExact(BoxedExactConfig(strict_format=False))
    right = 0.0
    for start in range(0, len(problems), BATCH):
        batch = problems[start : start + BATCH]
        ids = {"input_ids": prompts[start : start + BATCH]}
        inputs = tokenizer.pad(ids, return_tensors="pt")
        with torch.no_grad():
            answers = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=limit,
                do_sample=False,
            )
        texts = tokenizer.batch_decode(
            answers[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        scores = (reward(problem, text) for problem, text in zip(batch, texts, strict=True))
        right += sum(score.value for score in scores)
    return right / len(problems)
