"""The stages of critique fine-tuning, and what each of them depends on.

seeds -> candidates -> critiques -> filter -> train -> evaluate    (then the report)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlreason.critique import stage_work
from rlreason.critique.replies import NamedWriter
from rlreason.critique.run_parts import CftRun
from rlreason.critique.stages import Stage, StageName, pending, run_stages


def run_pipeline(run: CftRun, *, until: StageName) -> list[StageName]:
    """Bring every stage up to ``until`` up to date; returns those that had something to do.

    Raises:
        ConfigError: Before any stage, if an endpoint that may be needed cannot be reached.
    """
    stages = stages_of(run)
    _reach_writers(run, pending(stages, run.stages, until=until))
    return run_stages(stages, run.stages, until=until, display=run.display)


def _reach_writers(run: CftRun, to_do: Sequence[StageName]) -> None:
    writers = [*(run.generators if "candidates" in to_do else ())]
    writers += run.teachers if "critiques" in to_do else ()
    for writer in writers:
        if writer.reach is not None:
            writer.reach()


def stages_of(run: CftRun) -> list[Stage]:
    """The stages and what each depends on."""
    return [*_data_stages(run), *_policy_stages(run)]


def _data_stages(run: CftRun) -> list[Stage]:
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
            make=lambda path, provenance: stage_work.make_seeds(run, path, provenance),
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
            make=lambda path, provenance: stage_work.make_candidate_file(run, path, provenance),
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
            make=lambda path, provenance: stage_work.make_critiques(run, path, provenance),
        ),
        Stage(
            name="filter",
            reads=("candidates", "critiques"),
            inputs={"filter": config.filter.model_dump(mode="json")},
            make=lambda path, provenance: stage_work.make_examples(run, path, provenance),
        ),
    ]


def _policy_stages(run: CftRun) -> list[Stage]:
    config = run.config
    return [
        Stage(
            name="train",
            reads=("candidates", "filter"),
            inputs={
                "training": config.training.model_dump(mode="json"),
                "baselines": list(config.baselines),
                "template": run.templates.train.text,
                "learner": config.learner.model_dump(mode="json"),
                "model": config.model.model_dump(mode="json"),
                "prompt": config.prompt.model_dump(mode="json"),
                "weights": run.hashes.model,
            },
            make=lambda path, provenance: stage_work.make_policies(run, path, provenance),
        ),
        Stage(
            name="evaluate",
            reads=("train",),
            inputs={
                "settings": run.examiner.settings,
                "selection": config.selection.model_dump(mode="json"),
                "weights": run.hashes.model,
            },
            make=lambda path, provenance: stage_work.make_results(run, path, provenance),
        ),
    ]


def _writers(writers: Sequence[NamedWriter]) -> list[tuple[str, str, int | None]]:
    return [(writer.name, writer.identity, writer.samples) for writer in writers]


def _journal_state(folder: str | None) -> list[str]:
    """Names of the journaled steps of the run that seeds are chosen by."""
    return sorted(path.name for path in Path(folder).glob("steps/*")) if folder else []
