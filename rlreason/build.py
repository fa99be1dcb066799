"""From a configuration to a Run. The only orchestration that imports adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rlreason.algorithms.advantages import ADVANTAGES
from rlreason.alarms import Alarms
from rlreason.checkpoint import Checkpoint, Checkpointer
from rlreason.config import GrpoConfig, PluginConfig
from rlreason.config_file import load_config, resolved_yaml
from rlreason.data.pools import Pools
from rlreason.errors import ConfigError
from rlreason.evaluate import Evaluation, Evaluator
from rlreason.journal import Journal
from rlreason.preflight import Plan, build_curriculum, preflight
from rlreason.progress import open_display
from rlreason.protocols import Learner, RolloutEngine
from rlreason.recorder import Recorder
from rlreason.run_folder import RunFolder
from rlreason.scoring import WorkerScorer
from rlreason.sinks import open_sinks
from rlreason.trainer import Run


@contextmanager
def open_run(config: GrpoConfig, *, fresh: bool = False) -> Iterator[Run]:
    """Check, lock and build a run, new or continued; close every part of it at the end.

    Raises:
        RlreasonError: With one message, before any heavy part starts, for the user's mistakes.
    """
    plan = preflight(config)
    sinks = open_sinks(config.log, config.run.name, config.model_dump(mode="json"))
    with ExitStack() as stack:
        path = Path(config.run.folder) / config.run.name
        folder = stack.enter_context(
            RunFolder(path).open(config, config_text=resolved_yaml(config), fresh=fresh)
        )
        checkpointer = Checkpointer(folder.checkpoints, keep=config.run.keep_checkpoints)
        checkpoint = checkpointer.newest()
        start = checkpoint.version if checkpoint else 0
        scorer = stack.enter_context(WorkerScorer(plan.rewards, config.scoring, config.run.seed))
        display = open_display()
        recorder = Recorder(path, sinks=sinks, display=display, alarms=Alarms())
        stack.callback(recorder.close)
        curriculum = build_curriculum(config, plan.train)
        pools = Pools(plan.train, seed=config.run.seed, replacement=config.rollout.replacement)
        if checkpoint:
            curriculum.load_state_dict(checkpoint.state["curriculum"])
            pools.load_state_dict(checkpoint.state["pools"])
        learner, engine, publisher = _start_inline(config, plan, checkpoint)
        if checkpoint:
            checkpointer.load_into(checkpoint, learner)
        display.start(config.run.steps, start)
        yield Run(
            config=config,
            start_step=start,
            pools=pools,
            curriculum=curriculum,
            engine=engine,
            scorer=scorer,
            bounds=scorer.bounds,
            advantage=ADVANTAGES[config.algorithm.advantage],
            learner=learner,
            publisher=publisher,
            journal=Journal(folder.steps),
            checkpointer=checkpointer,
            evaluator=_evaluator(config, plan, engine, scorer, stack, path),
            recorder=recorder,
        )
