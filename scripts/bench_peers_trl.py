"""TRL's side of scripts/bench_peers: GRPOTrainer with every setting taken from the same recipe.

``use_vllm=False`` is the only mode of TRL 1.16 that works on a CPU. Where its defaults would slow
it down on a CPU (gradient checkpointing, bfloat16 autocast, logs at every step) they are off.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from bench_peers_segment import Segment, SegmentResult, Stamps, since_process_start
from datasets import Dataset
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from rlreason.config import GrpoConfig
from rlreason.data.pools import Pools
from rlreason.learner.schedule import learning_rate
from rlreason.plugins import build_plugin
from rlreason.preflight import Plan, build_curriculum, preflight
from rlreason.types import Problem, Score


class StampedSteps(TrainerCallback):
    """Marks the end of every step; one step has ``updates`` optimizer updates."""

    def __init__(self, stamps: Stamps, updates: int) -> None:
        self._stamps, self._updates = stamps, updates

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Mark after the step's last update."""
        if state.global_step % self._updates == 0:
            self._stamps.mark()


def run_trl(segment: Segment) -> SegmentResult:
    """Train with GRPOTrainer on the problems that rlreason draws at the same steps."""
    torch.set_num_threads(segment.threads)
    config = segment.config()
    plan = preflight(config)
    stamps = Stamps(segment.warmup, config.run.steps)
    model = AutoModelForCausalLM.from_pretrained(
        plan.model, dtype=getattr(torch, config.model.dtype)
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=_reward_function(config),
        args=_settings(config, segment),
        train_dataset=_dataset(config, plan),
        processing_class=plan.encoder.tokenizer,
        callbacks=[StampedSteps(stamps, config.algorithm.updates_per_step)],
        optimizers=_optimizer(config, model),
    )
    started = since_process_start()
    trainer.train()
    policy = Path(segment.folder) / "policy"
    model.save_pretrained(policy)
    plan.encoder.tokenizer.save_pretrained(policy)
    timed = segment.warmup * config.algorithm.updates_per_step
    logs = [row for row in trainer.state.log_history if "reward" in row][timed:]
    return SegmentResult(
        step_s=stamps.step_s,
        cpu_s=stamps.cpu_s,
        completion_tokens=fmean(row["completions/mean_length"] for row in logs),
        reward=fmean(row["reward"] for row in logs[-10:]),
        start_s=started,
        policy=str(policy),
    )


def _settings(config: GrpoConfig, segment: Segment) -> GRPOConfig:
    completions = config.rollout.problems_per_step * config.rollout.group_size
    updates = config.algorithm.updates_per_step
    batch = min(segment.trl_batch, completions // updates)
    return GRPOConfig(
        output_dir=segment.folder,
        seed=config.run.seed,
        use_vllm=False,
        use_cpu=True,
        bf16=config.model.dtype == "bfloat16",
        gradient_checkpointing=config.model.gradient_checkpointing,
        max_steps=config.run.steps * updates,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=completions // updates // batch,
        steps_per_generation=completions // batch,
        num_iterations=1,
        num_generations=config.rollout.group_size,
        max_completion_length=config.rollout.max_completion_tokens,
        temperature=config.rollout.temperature,
        shuffle_dataset=False,
        beta=config.algorithm.kl,
        epsilon=config.algorithm.clip_low,
        epsilon_high=config.algorithm.clip_high,
        loss_type="dapo",
        scale_rewards="group",
        max_grad_norm=config.learner.max_grad_norm,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )


def _optimizer(config: GrpoConfig, model: Any) -> tuple[Any, Any]:
    """AdamW in TRL's own default implementation, on rlreason's schedule."""
    section, updates = config.learner, config.algorithm.updates_per_step
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=section.learning_rate,
        betas=section.betas,
        weight_decay=section.weight_decay,
        fused=True,
    )

    def factor(update: int) -> float:
        return learning_rate(section, update // updates, config.run.steps) / section.learning_rate

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _dataset(config: GrpoConfig, plan: Plan) -> Dataset:
    """The problems of every step in order, as rlreason draws them with an even curriculum."""
    pools = Pools(plan.train, seed=config.run.seed, replacement=config.rollout.replacement)
    weights = build_curriculum(config, plan.facts).weights()
    draws = [
        pools.draw(step, config.rollout.problems_per_step, weights)
        for step in range(config.run.steps)
    ]
    problems: list[Problem] = list(chain(*draws))
    prompts = [_prompt(config, problem) for problem in problems]
    _check_same_tokens(plan, problems[0], prompts[0])
    return Dataset.from_dict(
        {
            "prompt": prompts,
            "answer": [problem.answer for problem in problems],
            "pool": [problem.pool for problem in problems],
        }
    )


def _prompt(config: GrpoConfig, problem: Problem) -> str | list[dict[str, str]]:
    text = config.prompt.template.replace("{problem}", str(problem.prompt))
    if config.prompt.style == "text":
        return text
    system = [{"role": "system", "content": config.prompt.system}] if config.prompt.system else []
    return [*system, {"role": "user", "content": text}]


def _check_same_tokens(plan: Plan, problem: Problem, prompt: str | list[dict[str, str]]) -> None:
    tokenizer = plan.encoder.tokenizer
    if isinstance(prompt, str):
        theirs = tokenizer(text=[prompt])["input_ids"][0]
    else:
        theirs = tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, return_dict=False
        )
    ours = list(plan.encoder.encode(problem))
    if ours != list(theirs):
        raise SystemExit(f"the contenders read different prompts: {ours} and {list(theirs)}")


def _reward_function(config: GrpoConfig) -> Any:
    """The recipe's one reward, called in TRL's process."""
    section = config.scoring.reward
    assert section is not None, "the recipes of this benchmark name one reward for all pools"
    reward = build_plugin(section.use, section.options, where="scoring.reward")

    def score(
        completions: Sequence[Any], answer: Sequence[str | None], pool: Sequence[str], **_: Any
    ) -> list[float]:
        values = []
        for completion, expected, name in zip(completions, answer, pool, strict=True):
            text = completion if isinstance(completion, str) else completion[0]["content"]
            problem = Problem(id="-", pool=name, prompt="-", answer=expected)
            value = reward(problem, text)
            values.append(value.value if isinstance(value, Score) else float(value))
        return values

    return score
