"""What each stage does: reads earlier stages' files, works, and writes its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rlreason.critique import outcome
from rlreason.critique.artifacts import Provenance, read_rows, write_rows
from rlreason.critique.candidates import balance, make_candidates
from rlreason.critique.critiques import collect_responses
from rlreason.critique.filter import filter_critiques, funnel
from rlreason.critique.prompts import Template
from rlreason.critique.records import Candidate, CritiqueExample, TeacherResponse
from rlreason.critique.run_parts import CftRun
from rlreason.critique.seed_stage import choose_seeds
from rlreason.critique.stage_display import StageDisplay
from rlreason.critique.stages import stage_file
from rlreason.critique.tables import (
    CHECKPOINTS,
    RESULTS,
    SEEDS,
    read_table,
    seed_problem,
    seed_row,
    write_table,
)
from rlreason.critique.training import train_one
from rlreason.critique.trainings import plan_trainings
from rlreason.faults import fault_point
from rlreason.types import Problem


def make_seeds(run: CftRun, path: Path, provenance: Provenance) -> None:
    """Choose the seed problems."""
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


def make_candidate_file(run: CftRun, path: Path, provenance: Provenance) -> None:
    """Have solutions written and graded."""
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


def make_critiques(run: CftRun, path: Path, provenance: Provenance) -> None:
    """Have every candidate criticised."""
    candidates, _ = read_rows(stage_file(run.stages, "candidates"), Candidate)
    responses = collect_responses(
        candidates,
        run.teachers,
        template=run.templates.critique,
        writing=run.writing("critiques", run.config.critiques.max_failed_frac),
    )
    write_rows(path, responses, TeacherResponse, provenance)


def make_examples(run: CftRun, path: Path, provenance: Provenance) -> None:
    """Keep the critiques that are true."""
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


def make_policies(run: CftRun, path: Path, provenance: Provenance) -> None:
    """Train on them, and the baselines beside."""
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


def make_results(run: CftRun, path: Path, provenance: Provenance) -> None:
    """Examine every checkpoint and select one of each training."""
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
