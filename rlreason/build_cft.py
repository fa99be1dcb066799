"""From a configuration to a run of critique fine-tuning. A composer, as ``build.py`` is."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rlreason.build_writers import named_writer
from rlreason.checkpoint import ADAPTER
from rlreason.config import CftConfig, EvaluationSection, PluginConfig, WriterSection
from rlreason.config_file import resolved_yaml
from rlreason.console import run_console
from rlreason.critique.examination import Examiner
from rlreason.critique.lessons import CRITIC
from rlreason.critique.records import stable_hash
from rlreason.critique.replies import NamedWriter
from rlreason.critique.run_parts import CftRun, Hashes
from rlreason.critique.stage_display import open_stage_display
from rlreason.critique.stages import weights_digest
from rlreason.critique.training import OpenLearner
from rlreason.data.pools import split_key
from rlreason.data.prompts import PromptEncoder
from rlreason.memory.table import as_text
from rlreason.preflight_cft import ByPool, CftPlan, preflight_cft
from rlreason.preflight_stages import memory_stages, require_stages_fit, stage_tables
from rlreason.protocols import Learner, RolloutEngine
from rlreason.run_folder import RunFolder
from rlreason.scoring import WorkerScorer
from rlreason.types import Problem

logger = logging.getLogger(__name__)

JUDGE = "rewards.critique:Critique"
"""Says whether a critique is true; the filter and the examination of verdicts ask it."""


@dataclass(frozen=True, slots=True)
class BothPrompts:
    """One codec for plain problems and for prompts that ask for a critique."""

    solver: PromptEncoder
    critic: PromptEncoder

    def encode(self, problem: Problem) -> tuple[int, ...]:
        """Prompt token ids, by the encoder of the problem's kind."""
        return (self.critic if problem.pool == CRITIC else self.solver).encode(problem)

    def encode_turn(self, text: str) -> tuple[int, ...]:
        """The model's turn, its end token included."""
        return self.critic.encode_turn(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Completion text without special tokens."""
        return self.solver.decode(token_ids)


@contextmanager
def open_cft(config: CftConfig, *, fresh: bool = False) -> Iterator[CftRun]:
    """Check, lock and build a run, new or continued; close every part of it at the end.

    Raises:
        RlreasonError: With one message, before any heavy part starts, for the user's mistakes.
    """
    checked = preflight_cft(config)
    memory = memory_stages(config, checked)
    require_stages_fit(config, memory)
    with ExitStack() as stack:
        path = Path(config.run.folder) / config.run.name
        stack.enter_context(
            RunFolder(path).open(
                config, config_text=resolved_yaml(config), fresh=fresh, all_may_change=True
            )
        )
        display = open_stage_display()
        stack.callback(display.close)
        stack.enter_context(run_console(display))
        logger.info("%s", as_text(*stage_tables(memory)))
        for warning in memory.host.warnings:
            logger.warning("%s", warning)
        judge = PluginConfig(use=JUDGE)
        rewards = {pool.name: config.reward_of(pool) for pool in config.pools}
        seeding = dict.fromkeys(rewards, judge)
        scorer = stack.enter_context(
            WorkerScorer({**rewards, CRITIC: judge}, config.scoring, seed=config.run.seed)
        )
        examiner = _examiner(config, checked, scorer, path)
        yield CftRun(
            config=config,
            folder=path,
            seed_pools=checked.seed_pools,
            test_keys=checked.test_keys,
            key_of=split_key,
            generators=_writers(config, config.generators, "generators"),
            teachers=_writers(config, config.teachers, "teachers"),
            policy=_policy_writer(config),
            templates=checked.templates,
            scorer=scorer,
            bounds=scorer.bounds,
            judge=stack.enter_context(WorkerScorer(seeding, config.scoring, seed=config.run.seed)),
            codec=BothPrompts(checked.plan.encoder, checked.critic),
            open_learner=_learner_opener(config, checked),
            examiner=examiner,
            hashes=Hashes(
                seed_problems=_problems_hash(checked.seed_pools),
                model=weights_digest(checked.plan.model),
            ),
            display=display,
        )


def _writers(config: CftConfig, sections: Sequence[WriterSection], where: str) -> list[NamedWriter]:
    threads = config.cluster.threads
    return [
        named_writer(section, threads=threads, where=f"{where}.{section.name}")
        for section in sections
    ]


def _policy_writer(config: CftConfig) -> NamedWriter:
    section = WriterSection(
        name="policy",
        model=config.model.path,
        dtype=config.model.dtype,
        max_tokens=config.evaluation.max_completion_tokens,
        prompt=config.prompt,
        vllm=config.evaluation.vllm,
    )
    return named_writer(section, threads=config.cluster.threads, where="model")


def _problems_hash(pools: ByPool) -> str:
    return stable_hash(
        [(p.key, p.prompt, p.answer) for problems in pools.values() for p in problems]
    )


def _learner_opener(config: CftConfig, checked: CftPlan) -> OpenLearner:
    def open_learner(policy: Path | None, updates: int) -> Learner:
        import torch

        from rlreason.cluster.inline import prepare_process

        prepare_process(config.cluster)
        # Dropout draws from it; what was trained before in this process must not matter.
        torch.manual_seed(config.run.seed)
        from rlreason.learner.deepspeed_learner import DeepSpeedLearner
        from rlreason.learner.lora import Adapter
        from rlreason.learner.policy import load_model

        gc.collect()  # the learner before this one
        base, lora = checked.plan.model, config.learner.lora
        learned = load_model(base if lora else policy or base, config.model)
        if lora:
            saved = policy.with_name(ADAPTER) if policy else None
            learned = Adapter(learned, lora, seed=config.run.seed, base=base, saved=saved)
        return DeepSpeedLearner(
            learned,
            checked.plan.encoder.tokenizer,
            learner=config.learner,
            algorithm=checked.grpo.algorithm,
            temperature=1.0,
            total_steps=updates,
        )

    return open_learner


def _examiner(config: CftConfig, checked: CftPlan, scorer: WorkerScorer, folder: Path) -> Examiner:
    section = config.evaluation
    settings = {
        "evaluation": section.model_dump(mode="json"),
        "model": config.model.model_dump(mode="json", exclude={"path"}),
        "prompt": config.prompt.model_dump(mode="json"),
        "scoring": config.scoring.model_dump(mode="json", include={"reward"}),
        "pools": [
            pool.model_dump(mode="json", include={"name", "reward"}) for pool in config.pools
        ],
        "validation": _problems_hash(checked.validation),
        "test": _problems_hash(checked.test),
        "template": checked.templates.train.text,
        "seed": config.run.seed,
    }
    limit = checked.max_len
    return Examiner(
        folder=folder,
        engine=_engine_opener(config, checked, limit),
        load=_load_policy,
        scorer=scorer,
        bounds=scorer.bounds,
        validation=checked.validation,
        test=checked.test,
        section=EvaluationSection(samples=section.samples, temperature=section.temperature),
        num_verdicts=section.verdicts,
        fits=lambda problem: len(checked.critic.encode(problem)) < limit,
        render=checked.templates.render_train,
        settings=stable_hash(settings),
    )


def _engine_opener(
    config: CftConfig, checked: CftPlan, max_len: int
) -> Callable[[], RolloutEngine]:
    @cache
    def engine() -> RolloutEngine:
        from rlreason.cluster.inline import prepare_process
        from rlreason.rollout.vllm_engine import EngineStart, VllmEngine

        setup = prepare_process(config.cluster)
        gc.collect()  # the last learner
        start = EngineStart(
            path=checked.plan.model,
            version=0,
            max_len=max_len,
            eos_ids=checked.plan.eos_ids,
            threads=setup.threads,
            seeded=setup.deterministic,
        )
        return VllmEngine(checked.grpo, BothPrompts(checked.plan.encoder, checked.critic), start)

    return engine


def _load_policy(engine: RolloutEngine, folder: Path, number: int) -> None:
    from rlreason.weights.from_disk import named_tensors

    engine.load_weights(named_tensors(folder), version=number)
