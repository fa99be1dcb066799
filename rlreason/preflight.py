"""Everything that can be found wrong before torch, vLLM or DeepSpeed hold any memory.

Part of the build: reads the data, loads every plug-in, encodes every prompt. What comes out is
what the run is built from, and what ``--dry-run`` prints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from rlreason.config import GrpoConfig, PluginConfig, PoolSection, PromptSection
from rlreason.data.faults import BadRowError, FaultReport
from rlreason.data.pools import split_held_out
from rlreason.data.problems import read_problems
from rlreason.data.prompts import PromptEncoder, check_prompts, eos_ids
from rlreason.data.sources import open_source
from rlreason.errors import ConfigError, DataError
from rlreason.item_history import select_problems
from rlreason.memory.plan import Job
from rlreason.models import resolve_model
from rlreason.plugins import build_plugin
from rlreason.preflight_lora import check_lora
from rlreason.preflight_memory import memory_job
from rlreason.protocols import Curriculum
from rlreason.scoring import WorkerScorer
from rlreason.teacher import find_teacher
from rlreason.types import PoolFacts, Problem

MAX_PROMPT_CHARS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked run: its data, its codec, its limits."""

    model: Path | str
    encoder: PromptEncoder
    eos_ids: tuple[int, ...]
    train: Mapping[str, list[Problem]]
    held_out: Mapping[str, list[Problem]]
    facts: Mapping[str, PoolFacts]
    """What the curriculum is told of each pool."""
    rewards: Mapping[str, PluginConfig]
    evaluation_rewards: Mapping[str, PluginConfig]
    max_len: int
    """Longest prompt plus the longest completion, in tokens."""
    memory_job: Job
    """What the memory plans are made from."""
    teacher: Path | str | None = None
    """Model that loss distillation learns from."""

    def render(self, config: GrpoConfig) -> Table:
        """What the run will do, pool by pool."""
        rollouts = config.rollout.problems_per_step * config.rollout.group_size
        table = Table(
            title=f"{config.run.name}: {config.run.steps} steps of {rollouts} completions, "
            f"at most {self.max_len} tokens each",
            title_justify="left",
        )
        table.add_column("pool")
        table.add_column("train", justify="right")
        table.add_column("held out", justify="right")
        table.add_column("reward")
        for pool in self.train:
            table.add_row(
                pool,
                str(len(self.train[pool])),
                str(len(self.held_out[pool])),
                self.rewards[pool].use,
            )
        return table


def preflight(config: GrpoConfig) -> Plan:
    """Check and prepare everything that needs no accelerator.

    Raises:
        ConfigError, PluginError, DataError: Naming the field or row, the rule and the remedy.
    """
    model = resolve_model(config.model.path)
    check_lora(config.learner.lora, model)
    rewards = {pool.name: config.reward_of(pool) for pool in config.pools}
    override = config.scoring.evaluation_reward
    evaluation_rewards = {name: override or reward for name, reward in rewards.items()}
    training = WorkerScorer(rewards, config.scoring, seed=config.run.seed)
    bounds = training.bounds
    evaluating = WorkerScorer(evaluation_rewards, config.scoring, seed=config.run.seed)
    _refuse_groups(config, training.of_groups, evaluating.of_groups)
    problems = {
        pool.name: _read(pool, _distinct(rewards[pool.name], evaluation_rewards[pool.name]))
        for pool in config.pools
    }
    _refuse_shots(config.prompt, problems)
    encoder, ends = _encoder(config, model)
    train, held_out = {}, {}
    for pool in config.pools:
        usable = check_prompts(encoder, problems[pool.name], config.prompt.max_tokens)
        train[pool.name], held_out[pool.name] = split_held_out(usable, pool.held_out)
        if pool.select:
            train[pool.name] = select_problems(train[pool.name], pool.select, pool.name)
    facts = {
        name: PoolFacts(size=len(problems), reward_bounds=bounds[name])
        for name, problems in train.items()
    }
    build_curriculum(config, facts)
    max_len = _max_len(config, encoder, train, held_out)
    teacher = find_teacher(config, encoder.tokenizer, max_len)
    return Plan(
        model=model,
        encoder=encoder,
        eos_ids=ends,
        train=train,
        held_out=held_out,
        facts=facts,
        rewards=rewards,
        evaluation_rewards=evaluation_rewards,
        max_len=max_len,
        teacher=teacher,
        memory_job=memory_job(config, model=model, teacher=teacher, max_len=max_len),
    )


def read_source(source: str) -> list[Problem]:
    """The problems of a source as a recipe names it, with or without answers.

    Raises:
        ConfigError, PluginError, DataError: Naming the source or row, the rule and the remedy.
    """
    pool = PoolSection(name="data", source=source)
    opened = open_source(pool, where="--data")
    return read_problems(opened, pool.name, needs_answer=False, max_prompt_chars=MAX_PROMPT_CHARS)


def build_curriculum(config: GrpoConfig, facts: Mapping[str, PoolFacts]) -> Curriculum:
    """The curriculum over the pools; it has seen nothing yet."""
    built: Curriculum = build_plugin(
        config.curriculum.use, config.curriculum.options, facts, where="curriculum"
    )
    return built


def _refuse_groups(
    config: GrpoConfig, training: Mapping[str, bool], evaluating: Mapping[str, bool]
) -> None:
    """What compares a group has nothing to say of a completion that comes alone."""
    for pool in config.pools:
        if training[pool.name] and config.algorithm.needs_greedy:
            raise ConfigError(
                f"pools.{pool.name}: its reward scores whole groups, and cannot score the greedy "
                f"completion that algorithm.advantage = {config.algorithm.advantage} compares "
                "with; take a reward of single completions, or another advantage"
            )
        if evaluating[pool.name] and pool.held_out > 0 and config.evaluation.every > 0:
            raise ConfigError(
                f"pools.{pool.name}: its reward scores whole groups, and cannot score held-out "
                "completions; set scoring.evaluation_reward, or evaluation.every = 0"
            )


def _distinct(training: PluginConfig, evaluation: PluginConfig) -> list[PluginConfig]:
    return [training] if evaluation == training else [training, evaluation]


def _read(pool: PoolSection, rewards: list[PluginConfig]) -> list[Problem]:
    """The pool's problems, each of them one that its rewards can score."""
    where = f"pools.{pool.name}"
    built = [
        build_plugin(reward.use, reward.options, where=f"{where}.reward") for reward in rewards
    ]
    problems = read_problems(
        open_source(pool, where=where),
        pool.name,
        needs_answer=any(getattr(reward, "needs_answer", False) for reward in built),
        max_prompt_chars=MAX_PROMPT_CHARS,
    )
    for reward in built:
        check = getattr(reward, "check_problem", None)
        problems = _checked_by(check, problems) if check else problems
    return problems


def _checked_by(check: Callable[[Problem], None], problems: list[Problem]) -> list[Problem]:
    """The problems that the reward accepts; more than 1 % refused ones stop the run."""
    report = FaultReport(problems[0].pool)
    good = []
    for problem in problems:
        try:
            check(problem)
        except DataError as error:
            report.add(f"problem {problem.key}", BadRowError("answer", str(error)))
        else:
            good.append(problem)
    report.settle(len(problems))
    return good


def _refuse_shots(section: PromptSection, problems: Mapping[str, list[Problem]]) -> None:
    """A problem that is also a shot would be asked with its answer in front of it."""
    shots = {_plain(question) for question, _ in section.shots}
    for problem in (problem for pool in problems.values() for problem in pool):
        text = problem.prompt if isinstance(problem.prompt, str) else problem.prompt[-1]["content"]
        if shots & {_plain(text), _plain(section.template.replace("{problem}", text))}:
            raise ConfigError(
                f"prompt.shots: {text!r:.200} is also problem {problem.key}, which would be asked "
                "with its answer in front of it; take another shot, or leave the problem out of "
                "the pool (options.exclude of a reasoning_gym source)"
            )


def _plain(text: str) -> str:
    return " ".join(text.split())


def _encoder(config: GrpoConfig, model: Path | str) -> tuple[PromptEncoder, tuple[int, ...]]:
    if isinstance(model, Path):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched that nobody named
    from transformers import AutoTokenizer, GenerationConfig

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.path = {config.model.path!r}: no tokenizer: {error}") from error
    try:
        generation = GenerationConfig.from_pretrained(model)
    except OSError:
        generation = None  # optional: the tokenizer's own end token is then the only one
    return PromptEncoder(tokenizer, config.prompt), eos_ids(tokenizer, generation)


def _max_len(
    config: GrpoConfig, encoder: PromptEncoder, *splits: Mapping[str, list[Problem]]
) -> int:
    longest = max(
        len(encoder.encode(problem))
        for split in splits
        for problems in split.values()
        for problem in problems
    )
    wanted = longest + config.rollout.max_completion_tokens
    limit = _position_limit(config)
    if limit is not None and wanted > limit:
        room = limit - longest
        remedy = f"lower it to {room}, or lower" if room > 0 else "no completion fits: lower"
        raise ConfigError(
            f"rollout.max_completion_tokens = {config.rollout.max_completion_tokens}: with the "
            f"longest prompt of {longest} tokens that is {wanted}, but the model takes {limit}; "
            f"{remedy} prompt.max_tokens"
        )
    return wanted


def _position_limit(config: GrpoConfig) -> int | None:
    from transformers import AutoConfig

    model = AutoConfig.from_pretrained(resolve_model(config.model.path))
    return getattr(model, "max_position_embeddings", None)
