"""The stages of critique fine-tuning, each a function of a run's parts and earlier stages' files.

seeds -> candidates -> critiques -> filter -> train -> evaluate    (then the report)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rlreason.config import CftConfig
from rlreason.critique import outcome
from rlreason.critique.artifacts import Provenance, read_rows, write_rows
from rlreason.critique.candidates import balance, make_candidates
from rlreason.critique.critiques import collect_responses
from rlreason.critique.examination import Examiner
from rlreason.critique.filter import filter_critiques, funnel
from rlreason.critique.lessons import TurnCodec
from rlreason.critique.prompts import Template
from rlreason.critique.prompts import render as fill
from rlreason.critique.records import Candidate, CritiqueExample, TeacherResponse
from rlreason.critique.replies import NamedWriter, Writing
from rlreason.critique.seed_stage import choose_seeds
from rlreason.critique.stage_display import StageDisplay
from rlreason.critique.stages import Stage, StageName, run_stages, stage_file
from rlreason.critique.tables import (
    CHECKPOINTS,
    RESULTS,
    SEEDS,
    read_table,
    seed_problem,
    seed_row,
    write_table,
)
from rlreason.critique.training import OpenLearner, train_one
from rlreason.critique.trainings import plan_trainings
from rlreason.faults import fault_point
from rlreason.protocols import Scorer
from rlreason.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """What generators, teachers and the policy read."""

    solve: Template
    critique: Template
    train: Template

    def render_train(self, problem: Problem, solution: str) -> str:
        """The text that asks the policy for a critique."""
        return fill(self.train, problem, solution)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashes:
    """Stand for what is too large to stand in a stage's inputs."""

    seed_problems: str
    model: str
    """Weights and tokenizer of the untrained model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CftRun:
    """The built parts of one run."""

    config: CftConfig
    folder: Path
    seed_pools: Mapping[str, Sequence[Problem]]
    """Pool -> problems that may become seeds."""
    test_keys: frozenset[str]
    """Split keys of the problems that are tested or validated on."""
    key_of: Callable[[Problem], str]
    """A problem's split key."""
    generators: Sequence[NamedWriter]
    teachers: Sequence[NamedWriter]
    policy: NamedWriter
    """The untrained model as a generator, for pass rates."""
    templates: Templates
    scorer: Scorer
    bounds: Mapping[str, tuple[float, float]]
    judge: Scorer
    """Of critiques."""
    codec: TurnCodec
    open_learner: OpenLearner
    examiner: Examiner
    hashes: Hashes
    display: StageDisplay

    @property
    def stages(self) -> Path:
        """Folder of the stages' files."""
        return self.folder / "stages"

    def writing(self, stage: str, max_failed_frac: float) -> Writing:
        """How ``stage`` has its texts written."""
        return Writing(
            folder=self.stages / "replies" / stage,
            seed=self.config.run.seed,
            max_failed_frac=max_failed_frac,
            progress=self.display.progress,
        )


def run_pipeline(run: CftRun, *, until: StageName) -> list[StageName]:
    """Bring every stage up to ``until`` up to date; returns those that had something to do."""
    return run_stages(stages_of(run), run.stages, until=until, display=run.display)


def stages_of(run: CftRun) -> list[Stage]:
    """The stages and what each depends on."""
    config, templates = run.config, run.templates
    grading = config.scoring.model_dump(mode="json", include={"reward"})
    pools = [pool.model_dump(mode="json") for pool in config.pools]
    return [
        Stage(
            name="seeds",
            reads=(),
            inputs={
                "run": config.run.seed,
                "seeds": config.seeds.model_dump(mode="json"),
                "problems": run.hashes.seed_problems,
                "policy": run.policy.identity if config.seeds.choose == "pass_rate" else "",
                "journal": _journal_state(config.seeds.journal),
            },
            make=lambda path, provenance: _seeds(run, path, provenance),
        ),
        Stage(
            name="candidates",
            reads=("seeds",),
            inputs={
                "run": config.run.seed,
                "candidates": config.candidates.model_dump(mode="json"),
                "template": templates.solve.text,
                "generators": _writers(run.generators),
                "grading": grading,
                "pools": [(pool["name"], pool["reward"]) for pool in pools],
            },
            make=lambda path, provenance: _candidates(run, path, provenance),
        ),
        Stage(
            name="critiques",
            reads=("candidates",),
            inputs={
                "run": config.run.seed,
                "template": templates.critique.text,
                "teachers": _writers(run.teachers),
                "max_failed_frac": config.critiques.max_failed_frac,
            },
            make=lambda path, provenance: _critiques(run, path, provenance),
        ),
        Stage(
            name="filter",
            reads=("candidates", "critiques"),
            inputs={"filter": config.filter.model_dump(mode="json")},
            make=lambda path, provenance: _filter(run, path, provenance),
        ),
        Stage(
            name="train",
            reads=("candidates", "filter"),
            inputs={
                "training": config.training.model_dump(mode="json"),
                "baselines": list(config.baselines),
                "template": templates.train.text,
                "learner": config.learner.model_dump(mode="json"),
                "model": config.model.model_dump(mode="json"),
                "prompt": config.prompt.model_dump(mode="json"),
                "weights": run.hashes.model,
            },
            make=lambda path, provenance: _train(run, path, provenance),
        ),
        Stage(
            name="evaluate",
            reads=("train",),
            inputs={
                "settings": run.examiner.settings,
                "selection": config.selection.model_dump(mode="json"),
                "weights": run.hashes.model,
            },
            make=lambda path, provenance: _evaluate(run, path, provenance),
        ),
    ]


def _writers(writers: Sequence[NamedWriter]) -> list[tuple[str, str, int | None]]:
    return [(writer.name, writer.identity, writer.samples) for writer in writers]


def _journal_state(folder: str | None) -> list[str]:
    """Names of the journaled steps of the run that seeds are chosen by."""
    return sorted(path.name for path in Path(folder).glob("steps/*")) if folder else []


def _seeds(run: CftRun, path: Path, provenance: Provenance) -> None:
    problems, rates = choose_seeds(
        run.config.seeds,
        run.seed_pools,
        seed=run.config.run.seed,
        rate=lambda tried: _tried(run, tried),
        bounds=run.bounds,
    )
    outcome.refuse_tested(problems, run.test_keys, run.key_of)
    fault_point("seeds", 0)
    rows = [seed_row(problem, rates.get(problem.key)) for problem in problems]
    write_table(path, rows, SEEDS, provenance)


def _tried(run: CftRun, problems: Sequence[Problem]) -> list[Candidate]:
    """The untrained model's graded answers."""
    answers = make_candidates(
        problems,
        [run.policy],
        samples=run.config.seeds.samples,
        template=Template("{problem}", "pass rates"),
        writing=run.writing("seeds", 0.0),
        scorer=run.scorer,
        bounds=run.bounds,
    )
    return list(answers.candidates)


def _candidates(run: CftRun, path: Path, provenance: Provenance) -> None:
    section = run.config.candidates
    problems = [seed_problem(row) for row in read_table(stage_file(run.stages, "seeds"))]
    made = make_candidates(
        problems,
        run.generators,
        samples=section.samples,
        template=run.templates.solve,
        writing=run.writing("candidates", run.config.critiques.max_failed_frac),
        scorer=run.scorer,
        bounds=run.bounds,
    )
    kept = balance(made.candidates, right_share=section.right_share, limit=section.limit)
    counts = {"generators": [asdict(count) for count in made.counts], "criticised": len(kept)}
    write_rows(path, kept, Candidate, replace(provenance, counts=counts))


def _critiques(run: CftRun, path: Path, provenance: Provenance) -> None:
    candidates, _ = read_rows(stage_file(run.stages, "candidates"), Candidate)
    responses = collect_responses(
        candidates,
        run.teachers,
        template=run.templates.critique,
        writing=run.writing("critiques", run.config.critiques.max_failed_frac),
    )
    write_rows(path, responses, TeacherResponse, provenance)


def _filter(run: CftRun, path: Path, provenance: Provenance) -> None:
    section = run.config.filter
    candidates, _ = read_rows(stage_file(run.stages, "candidates"), Candidate)
    responses, _ = read_rows(stage_file(run.stages, "critiques"), TeacherResponse)
    examples = filter_critiques(
        candidates,
        responses,
        judge=run.judge,
        wanted=section.wanted,
        right_share=section.right_share,
    )
    fault_point("filter", 0)
    counts = {"funnel": [asdict(row) for row in funnel(examples)]}
    write_rows(path, examples, CritiqueExample, replace(provenance, counts=counts))


def _train(run: CftRun, path: Path, provenance: Provenance) -> None:
    candidates, _ = read_rows(stage_file(run.stages, "candidates"), Candidate)
    examples, _ = read_rows(stage_file(run.stages, "filter"), CritiqueExample)
    trainings, left_out = plan_trainings(
        run.config,
        examples,
        candidates,
        codec=run.codec,
        render=run.templates.render_train,
        weights=run.hashes.model,
    )
    total = sum(training.updates for training in trainings)
    rows: list[dict[str, Any]] = []
    before = 0
    for training in trainings:
        show = partial(_show_update, run.display, before, total)
        checkpoints = train_one(training, run.folder / "checkpoints", run.open_learner, show)
        rows += [asdict(checkpoint) for checkpoint in checkpoints]
        before += training.updates
    write_table(path, rows, CHECKPOINTS, replace(provenance, counts={"left_out": left_out}))


def _show_update(display: StageDisplay, before: int, total: int, update: int) -> None:
    display.progress(before + update, total, "updates")


def _evaluate(run: CftRun, path: Path, provenance: Provenance) -> None:
    checkpoints = read_table(stage_file(run.stages, "train"))
    rows = outcome.examine_all(
        checkpoints,
        run.examiner,
        folder=run.folder,
        base=run.hashes.model,
        rule=run.config.selection.rule,
        progress=run.display.progress,
    )
    write_table(path, rows, RESULTS, provenance)
