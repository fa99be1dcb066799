"""From a configuration to a Run. The only orchestration that imports adapters."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rlreason.alarms import Alarms
from rlreason.build_parts import PartsPlan, make_engine, make_learner
from rlreason.checkpoint import Checkpoint, Checkpointer
from rlreason.cluster.deaths import Deaths
from rlreason.config import GrpoConfig, PluginConfig
from rlreason.config_file import load_config, resolved_yaml
from rlreason.console import run_console
from rlreason.controls import Controls
from rlreason.data.pools import Pools
from rlreason.draw_history import DrawHistory
from rlreason.errors import ConfigError
from rlreason.evaluate import Evaluation, Evaluator
from rlreason.journal import Journal
from rlreason.memory.plan import MemoryPlan
from rlreason.pool_changes import Stateful, discard_other_pools, load_adapted
from rlreason.preflight import Plan, build_curriculum, preflight
from rlreason.preflight_memory import fitting_plans
from rlreason.progress import open_display
from rlreason.protocols import Curriculum, Learner, RolloutEngine, WeightPublisher
from rlreason.recorder import Recorder
from rlreason.run import Run
from rlreason.run_folder import RunFolder
from rlreason.scoring import WorkerScorer
from rlreason.sinks import open_sinks
from rlreason.turns import TurnTakingLearner

if TYPE_CHECKING:
    from rlreason.cluster.inline import ProcessSetup

log = logging.getLogger(__name__)


@contextmanager
def open_run(
    config: GrpoConfig, *, fresh: bool = False, deaths: Deaths | None = None
) -> Iterator[Run]:
    """Check, lock and build a run, new or continued; close every part of it at the end.

    ``deaths`` counts on where an earlier attempt of this process left off.

    Raises:
        RlreasonError: With one message, before any heavy part starts, for the user's mistakes.
    """
    plan = preflight(config)
    memory = fitting_plans(config, plan.memory_job)
    sinks = open_sinks(config.log, config.run.name, config.model_dump(mode="json"))
    with ExitStack() as stack:
        path = Path(config.run.folder) / config.run.name
        folder = stack.enter_context(
            RunFolder(path).open(config, config_text=resolved_yaml(config), fresh=fresh)
        )
        checkpointer = Checkpointer(folder.checkpoints, keep=config.run.keep_checkpoints)
        checkpoint = checkpointer.newest()
        start = checkpoint.version if checkpoint else 0
        scorer = stack.enter_context(_scorer(config, plan.rewards))
        display = open_display()
        stack.enter_context(run_console(display))
        memory.tell(log)
        recorder = Recorder(path, sinks=sinks, display=display, alarms=Alarms())
        stack.callback(recorder.close)
        journal = Journal(folder.steps)
        curriculum, pools = _restored(config, plan, checkpoint)
        controls = Controls(config.algorithm)
        draws = DrawHistory(pools.sizes)
        if checkpoint:
            draws.load_state_dict(checkpoint.part("draws"))
            controls.load_state_dict(checkpoint.part("controls"))
        if config.run.on_pool_change == "adapt":
            discard_other_pools(journal, start, curriculum.weights())
        parts = _parts(config, plan, checkpoint, memory.gpu)
        learner, engine, publisher = _start(parts, stack, deaths)
        if checkpoint:
            checkpointer.load_into(checkpoint, learner)
        display.start(config.run.steps, start)
        yield Run(
            config=config,
            start_step=start,
            pools=pools,
            curriculum=curriculum,
            draws=draws,
            engine=engine,
            scorer=scorer,
            bounds=scorer.bounds,
            controls=controls,
            learner=learner,
            publisher=publisher,
            journal=journal,
            checkpointer=checkpointer,
            evaluator=_evaluator(config, plan, engine, scorer, stack, path),
            recorder=recorder,
        )


def _restored(
    config: GrpoConfig, plan: Plan, checkpoint: Checkpoint | None
) -> tuple[Curriculum, Pools]:
    """Curriculum and pools, as the checkpoint left them."""
    curriculum = build_curriculum(config, plan.facts)
    pools = Pools(plan.train, seed=config.run.seed, replacement=config.rollout.replacement)
    if checkpoint is None:
        return curriculum, pools
    parts: dict[str, Stateful] = {"curriculum": curriculum, "pools": pools}
    for what, part in parts.items():
        saved = checkpoint.part(what)
        if config.run.on_pool_change == "adapt":
            load_adapted(part, saved, what=what)
        else:
            part.load_state_dict(saved)
    return curriculum, pools


def evaluate_checkpoint(run_folder: Path, version: int | None = None) -> Evaluation:
    """Evaluate a checkpoint of a run anew, with the engine alone; nothing of the run changes.

    Raises:
        ConfigError: If the run has no valid checkpoint of that version, or holds nothing out.
    """
    config = load_config(str(run_folder / "config.yaml"))
    checkpoint = _checkpoint_of(run_folder, config, version)
    plan = preflight(config)
    with ExitStack() as stack:
        setup = _prepare(config)
        parts = _parts(config, plan, checkpoint)
        engine = make_engine(parts, threads=setup.threads, seeded=setup.deterministic)
        evaluator = _evaluator(config, plan, engine, None, stack, run_folder)
        if evaluator is None:
            raise ConfigError(f"{run_folder}: no pool of this run holds problems out")
        return evaluator.evaluate(checkpoint.version)


def _checkpoint_of(run_folder: Path, config: GrpoConfig, version: int | None) -> Checkpoint:
    checkpointer = Checkpointer(RunFolder(run_folder).checkpoints, keep=config.run.keep_checkpoints)
    checkpoint = checkpointer.newest() if version is None else checkpointer.at(version)
    if checkpoint is None:
        wanted = "" if version is None else f" of version {version}"
        raise ConfigError(f"{run_folder}: no valid checkpoint{wanted}")
    return checkpoint


def _evaluator(
    config: GrpoConfig,
    plan: Plan,
    engine: RolloutEngine,
    scorer: WorkerScorer | None,
    stack: ExitStack,
    folder: Path,
) -> Evaluator | None:
    """The evaluator, on the training scorer where every pool is evaluated by its own reward."""
    if config.evaluation.every == 0 or not any(plan.held_out.values()):
        return None
    if scorer is None or plan.evaluation_rewards != plan.rewards:
        scorer = stack.enter_context(_scorer(config, plan.evaluation_rewards))
    return Evaluator(engine, scorer, plan.held_out, config.evaluation, scorer.bounds, folder)


def _scorer(config: GrpoConfig, rewards: Mapping[str, PluginConfig]) -> WorkerScorer:
    scorer = WorkerScorer(rewards, config.scoring, seed=config.run.seed)
    scorer.start()  # the workers import while the engine does
    return scorer


def _prepare(config: GrpoConfig) -> ProcessSetup:
    from rlreason.cluster.inline import prepare_process

    return prepare_process(config.cluster)


def _start(
    plan: PartsPlan, stack: ExitStack, deaths: Deaths | None
) -> tuple[Learner, RolloutEngine, WeightPublisher]:
    """Learner, engine and what is between them, where the recipe wants them."""
    if plan.config.cluster.backend == "ray":
        from rlreason.build_ray import start_ray

        return start_ray(plan, stack, deaths or Deaths())
    setup = _prepare(plan.config)
    from rlreason.weights.inline import InlinePublisher

    learner = make_learner(plan)
    engine = make_engine(plan, threads=setup.threads, seeded=setup.deterministic)
    publisher = InlinePublisher(learner, engine)
    if plan.share and plan.share.sleeps and setup.device == "cuda":
        return TurnTakingLearner(learner, engine.sleep), engine, publisher
    return learner, engine, publisher


def _parts(
    config: GrpoConfig,
    plan: Plan,
    checkpoint: Checkpoint | None,
    memory: MemoryPlan | None = None,
) -> PartsPlan:
    """On the checkpoint's weights, or the starting model's."""
    start = checkpoint.policy if checkpoint else plan.model
    adapter = checkpoint.adapter.resolve() if checkpoint and config.learner.lora else None
    return PartsPlan(
        config=config,
        model=plan.model,
        teacher=plan.teacher,
        start=start.resolve() if isinstance(start, Path) else start,
        adapter=adapter,
        version=checkpoint.version if checkpoint else 0,
        encoder=plan.encoder,
        eos_ids=plan.eos_ids,
        max_len=plan.max_len,
        share=memory.engine if memory else None,
    )
