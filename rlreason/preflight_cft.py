"""What can be found wrong with a run of critique fine-tuning before any weights are loaded.

Part of the build, as ``preflight.py`` is: it reads the data, divides it, loads every plug-in and
template, and asks every writer whether it could write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from rlreason.build_writers import check_generator, check_teacher
from rlreason.config import CftConfig, CftPoolSection, GrpoConfig, PromptSection
from rlreason.critique.lessons import CRITIC
from rlreason.critique.outcome import refuse_overlap, refuse_tested
from rlreason.critique.prompts import load_template
from rlreason.critique.run_parts import Templates
from rlreason.critique.seed_stage import choose_seeds, tried_problems
from rlreason.data.pools import split_held_out, split_key
from rlreason.data.prompts import PromptEncoder
from rlreason.errors import ConfigError
from rlreason.models.weight_files import check_weight_files
from rlreason.preflight import Plan, preflight
from rlreason.preflight_lora import check_lora
from rlreason.types import Problem

ByPool = Mapping[str, list[Problem]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CftPlan:
    """A checked run."""

    grpo: GrpoConfig
    """The same run as adapters and evaluation read it."""
    plan: Plan
    seed_pools: ByPool
    validation: ByPool
    test: ByPool
    critic: PromptEncoder
    """Encodes prompts that ask for a critique."""
    templates: Templates
    max_len: int
    """Tokens of the evaluating engine's context."""

    @property
    def test_keys(self) -> frozenset[str]:
        """Split keys of all that is validated or tested on."""
        sides = (self.validation, self.test)
        return frozenset(split_key(p) for side in sides for pool in side.values() for p in pool)

    def render(self, config: CftConfig) -> Table:
        """What the run will do, pool by pool and writer by writer."""
        section = config.training
        length = f"{section.updates} updates" if section.updates else f"{section.epochs} epochs"
        table = Table(
            title=f"{config.run.name}: {', '.join(('cft', *config.baselines))}, each {length} of "
            f"{section.batch_size} examples, seeds {list(section.seeds)}",
            title_justify="left",
        )
        table.add_column("pool or writer")
        for name in ("seed problems", "validation", "test"):
            table.add_column(name, justify="right")
        for pool in config.pools:
            sides = (self.seed_pools, self.validation, self.test)
            counts = [str(len(side.get(pool.name, []))) for side in sides]
            if config.seeds.pools and pool.name not in config.seeds.pools:
                counts[0] = "-"
            table.add_row(pool.name, *counts)
        table.add_section()
        for role, writers in (("generator", config.generators), ("teacher", config.teachers)):
            for writer in writers:
                table.add_row(f"{role} {writer.name}: {writer.kind}", "", "", "")
        return table


def preflight_cft(config: CftConfig) -> CftPlan:
    """Check and prepare everything that needs no weights.

    Raises:
        ConfigError, PluginError, DataError: Naming the field or row, the rule and the remedy.
    """
    if any(pool.name == CRITIC for pool in config.pools):
        raise ConfigError(f"pools.{CRITIC}: that name is taken; call the pool something else")
    templates = _templates(config)
    grpo = as_grpo(config)
    try:
        plan = preflight(grpo)
    except ConfigError as error:  # in the words of this kind of recipe
        shared = str(error).replace("rollout.max_completion", "evaluation.max_completion")
        raise ConfigError(shared) from error
    if isinstance(plan.model, Path):
        check_weight_files(plan.model, field="model.path", value=config.model.path)
    check_lora(config.learner.lora, plan.model)
    seed_pools, validation, test = _divided(config, plan)
    refuse_overlap(validation, test, split_key)
    checked = CftPlan(
        grpo=grpo,
        plan=plan,
        seed_pools=seed_pools,
        validation=validation,
        test=test,
        critic=PromptEncoder(
            plan.encoder.tokenizer,
            PromptSection(style=config.prompt.style, max_tokens=config.training.max_tokens),
        ),
        templates=templates,
        max_len=_max_len(config, plan),
    )
    _check_writers(config, checked)
    return checked


def _max_len(config: CftConfig, plan: Plan) -> int:
    """Room in a prompt for a whole answer that is to be judged, as far as the model has it."""
    from transformers import AutoConfig

    known = AutoConfig.from_pretrained(plan.model)
    limit: int | None = getattr(known, "max_position_embeddings", None)
    wanted = plan.max_len + config.evaluation.max_completion_tokens
    return wanted if limit is None else min(wanted, limit)


def as_grpo(config: CftConfig) -> GrpoConfig:
    """The sections that engine, evaluation and data share with reinforcement learning."""
    pools = []
    for pool in config.pools:
        values = pool.model_dump(exclude={"role", "validation", "held_out"})
        kept = pool.held_out + pool.validation if pool.role == "split" else 0
        pools.append({**values, "held_out": kept})
    evaluation = config.evaluation
    return GrpoConfig.model_validate(
        {
            "run": config.run.model_dump(),
            "model": config.model.model_dump(),
            "prompt": config.prompt.model_dump(),
            "pools": pools,
            "curriculum": "curricula.uniform:Uniform",
            "scoring": config.scoring.model_dump(),
            "rollout": {
                "max_completion_tokens": evaluation.max_completion_tokens,
                "vllm": evaluation.vllm,
            },
            # Its value is the negative log-likelihood, where that of a surrogate would be -1.
            "algorithm": {"loss": "likelihood"},
            # Engines see whole policies from the disk, whatever was trained in them.
            "learner": config.learner.model_dump() | {"lora": None},
            "cluster": config.cluster.model_dump(),
            "evaluation": evaluation.model_dump(include={"samples", "temperature"}),
        }
    )


def _templates(config: CftConfig) -> Templates:
    both = ("problem", "solution")
    return Templates(
        solve=load_template(
            config.candidates.template, needs=("problem",), where="candidates.template"
        ),
        critique=load_template(config.critiques.template, needs=both, where="critiques.template"),
        train=load_template(config.training.template, needs=both, where="training.template"),
    )


def _divided(config: CftConfig, plan: Plan) -> tuple[ByPool, ByPool, ByPool]:
    """Problems that may be seeds, that choose checkpoints, and that test them."""
    seeds: dict[str, list[Problem]] = {}
    validation: dict[str, list[Problem]] = {}
    test: dict[str, list[Problem]] = {}
    sides = {"seeds": seeds, "validation": validation, "test": test}
    for pool in config.pools:
        if pool.role != "split":
            sides[pool.role][pool.name] = plan.train[pool.name]
            continue
        seeds[pool.name] = plan.train[pool.name]
        validation[pool.name], test[pool.name] = _halves(pool, plan.held_out[pool.name])
    return seeds, validation, test


def _halves(pool: CftPoolSection, kept: list[Problem]) -> tuple[list[Problem], list[Problem]]:
    """Validation and test problems of a pool; the lowest hashes are the test's."""
    if not pool.validation or not pool.held_out:
        return ([], kept) if pool.held_out else (kept, [])
    return split_held_out(kept, pool.held_out)


def _check_writers(config: CftConfig, checked: CftPlan) -> None:
    """Every writer, on the seed problems, or on those that may become some."""
    known = config.seeds.choose in ("given", "one_per_pool")
    problems = tried_problems(config.seeds, checked.seed_pools)
    if known:
        problems, _ = choose_seeds(
            config.seeds, checked.seed_pools, seed=config.run.seed, rate=lambda _: [], bounds={}
        )
        refuse_tested(problems, checked.test_keys, split_key)
    for generator in config.generators:
        check_generator(
            generator,
            problems if known or generator.kind != "file" else [],  # it need not solve them all
            samples=config.candidates.samples,
            template=checked.templates.solve,
            where=f"generators.{generator.name}",
        )
    for teacher in config.teachers:
        check_teacher(teacher, problems, where=f"teachers.{teacher.name}")
