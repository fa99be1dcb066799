"""One run of one-shot critique fine-tuning: ``kind: cft``."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rlreason.config.sections import (
    ClusterSection,
    EvaluationSection,
    LearnerSection,
    ModelSection,
    PluginConfig,
    PoolSection,
    PromptSection,
    ScoringSection,
    Section,
    checked_name,
)
from rlreason.config.writers import TeacherSection, WriterSection

Baseline = Literal["sft_one", "sft_all", "format_only"]


class CftRunSection(Section):
    """Identity of the run."""

    name: str = "cft"
    """Name of the run folder."""
    folder: str = "runs"
    """Where run folders live."""
    seed: int = Field(default=0, ge=0)
    """Chooses seed problems, candidates and critiques. ``training.seeds`` repeat the training."""

    _name = field_validator("name")(checked_name)


class CftPoolSection(PoolSection):
    """A named source of problems and what they are for."""

    role: Literal["split", "seeds", "validation", "test"] = "split"
    """``split``: the lowest hashes are ``held_out`` for the test, the next ones are for
    ``validation``, and seed problems come from the rest. Otherwise all problems are for one use."""
    validation: int = Field(default=16, ge=0)
    """Problems of a ``split`` pool that choose among checkpoints; never tested on."""


class SeedsSection(Section):
    """Which problems the critiques are about."""

    choose: Literal["given", "one_per_pool", "pass_rate", "variance"] = "one_per_pool"
    """``given``: those in ``problems``; ``one_per_pool``: one of each pool; ``pass_rate``: those
    that the model solves about as often as ``target``; ``variance``: those whose pass rate varied
    most in the run of reinforcement learning at ``journal``."""
    problems: tuple[str, ...] = ()
    """For ``given``: ``pool/id``, or the id where only one pool has it."""
    pools: tuple[str, ...] = ()
    """Pools to choose from; none: all that hold seed problems."""
    count: int = Field(default=1, ge=1)
    """For ``pass_rate`` and ``variance``: how many."""
    per_pool: bool = False
    """For ``pass_rate`` and ``variance``: ``count`` of each pool."""
    target: float = Field(default=0.5, ge=0, le=1)
    """For ``pass_rate``: .5 gives as many right as wrong candidates."""
    among: int = Field(default=64, ge=1)
    """For ``pass_rate``: problems of each pool that are tried, lowest hashes first."""
    samples: int = Field(default=8, ge=1)
    """For ``pass_rate``: completions of each."""
    journal: str | None = None
    """For ``variance``: the folder of that run."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.choose == "given") != bool(self.problems):
            raise ValueError(
                "seeds.problems: names problems if seeds.choose = given, and only then"
            )
        if (self.choose == "variance") != (self.journal is not None):
            raise ValueError(
                "seeds.journal: the folder of a run if seeds.choose = variance, and only then"
            )
        return self


class CandidatesSection(Section):
    """Solutions to be criticised."""

    samples: int = Field(default=10, ge=1)
    """Solutions of each generator to each seed problem."""
    template: str = "solve"
    """What generators read: a shipped name, a file, or text with ``{problem}``."""
    right_share: float | None = Field(default=None, ge=0, le=1)
    """Share of right solutions wanted among those that are criticised; null: as they come."""
    limit: int | None = Field(default=None, ge=1)
    """Solutions of each problem that are criticised at most."""


class CritiquesSection(Section):
    """What teachers are asked."""

    template: str = "critique"
    """What teachers read: a shipped name, a file, or text with ``{problem}`` and ``{solution}``."""
    max_failed_frac: float = Field(default=0.2, ge=0, le=1)
    """A larger share of requests without a text stops the run."""


class FilterSection(Section):
    """Which critiques are trained on, beside being true."""

    wanted: int | None = Field(default=None, ge=1)
    """Critiques kept in all: the longest and the shortest ones go first; null: all true ones."""
    right_share: float | None = Field(default=None, ge=0, le=1)
    """Share of critiques of right solutions; null: as they come."""


class TrainingSection(Section):
    """Supervised learning on critiques alone. Rates and decay are the ``learner`` section's."""

    template: str = "train"
    """What the policy reads: a shipped name, a file, or text with ``{problem}`` and
    ``{solution}``."""
    batch_size: int = Field(default=32, ge=1)
    """Examples of one update."""
    updates: int | None = Field(default=None, ge=1)
    """Optimizer updates; null: by ``epochs``."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the critiques; null: by ``updates``. Baselines make as many updates."""
    checkpoint_every: int = Field(default=10, ge=1)
    """Updates between checkpoints; each is evaluated. The last update always makes one."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """One training each, which differ in the order of examples and in what baselines draw."""
    problems: Literal["together", "each"] = "together"
    """``each``: one training per seed problem, on the critiques of that one alone."""
    max_tokens: int = Field(default=4096, ge=2)
    """Longest example, prompt included; longer ones are left out and counted."""

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if (self.updates is None) == (self.epochs is None):
            raise ValueError("training: set one of updates and epochs")
        if len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"training.seeds = {list(self.seeds)}: different numbers from 0 on")
        return self


class SelectionSection(Section):
    """Which checkpoint of a training is the result. Never decided on test problems."""

    rule: Literal["last", "best_validation"] = "best_validation"
    """``best_validation``: highest greedy accuracy on validation problems, the earliest of equal
    ones; ``last``: the last one."""


class CftEvaluationSection(EvaluationSection):
    """How policies are tested: with the plain solving prompt.

    Every checkpoint is tested greedily; ``samples`` are taken of the model before training and of
    each selected checkpoint.
    """

    every: Literal[1] = 1
    """Every checkpoint is evaluated; ``training.checkpoint_every`` makes them."""
    max_completion_tokens: int = Field(default=2048, ge=1)
    """Longest answer or critique."""
    verdicts: int = Field(default=64, ge=0)
    """Answers of the untrained model to test problems that each selected policy is asked to judge,
    as many right as wrong ones; 0: none."""
    vllm: dict[str, Any] = Field(default_factory=dict)
    """Passed to vLLM's engine as they are."""


class CftConfig(Section):
    """One run of critique fine-tuning: what ``rlreason train`` reads for ``kind: cft``."""

    kind: Literal["cft"]
    """The kind of run."""
    run: CftRunSection = CftRunSection()
    model: ModelSection
    """The policy that is trained."""
    prompt: PromptSection = PromptSection()
    """The plain solving prompt."""
    pools: tuple[CftPoolSection, ...] = Field(min_length=1)
    scoring: ScoringSection = ScoringSection()
    """The reward grades candidates and test answers: the highest value is right."""
    seeds: SeedsSection = SeedsSection()
    generators: tuple[WriterSection, ...] = Field(min_length=1)
    """Who writes candidate solutions."""
    candidates: CandidatesSection = CandidatesSection()
    teachers: tuple[TeacherSection, ...] = Field(min_length=1)
    """Who writes critiques."""
    critiques: CritiquesSection = CritiquesSection()
    filter: FilterSection = FilterSection()
    training: TrainingSection
    learner: LearnerSection = LearnerSection(learning_rate=5e-6, schedule="cosine")
    selection: SelectionSection = SelectionSection()
    baselines: tuple[Baseline, ...] = ()
    """Trained beside, with the same updates and seeds: ``sft_one``, one verified solution;
    ``sft_all``, all of them; ``format_only``, critiques with random digits and verdicts."""
    cluster: ClusterSection = ClusterSection()
    evaluation: CftEvaluationSection = CftEvaluationSection()

    @field_validator("cluster")
    @classmethod
    def _stages_are_one_process(cls, cluster: ClusterSection) -> ClusterSection:
        if cluster.backend != "inline":
            raise ValueError(
                f"backend = {cluster.backend}: critique fine-tuning trains and samples in one "
                "process at a time; leave backend at inline"
            )
        return cluster

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for section in ("pools", "generators", "teachers"):
            names = [item.name for item in getattr(self, section)]
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"{section}: the names {repeated} occur twice; a name is unique")
        if len(set(self.baselines)) != len(self.baselines):
            raise ValueError(f"baselines = {list(self.baselines)}: each at most once")
        return self

    @model_validator(mode="after")
    def _pools_serve(self) -> Self:
        names = {pool.name for pool in self.pools}
        unknown = sorted(set(self.seeds.pools) - names)
        if unknown:
            raise ValueError(f"seeds.pools = {unknown}: no such pools; known: {sorted(names)}")
        bare = [pool.name for pool in self.pools if pool.reward is None]
        if bare and self.scoring.reward is None:
            raise ValueError(
                f"pools {bare} name no reward; set scoring.reward, or a reward in each pool"
            )
        if not any(pool.role == "test" or self._splits(pool, "held_out") for pool in self.pools):
            raise ValueError(
                "pools: none holds test problems; set held_out, or a pool of role test"
            )
        validates = any(
            pool.role == "validation" or self._splits(pool, "validation") for pool in self.pools
        )
        if self.selection.rule == "best_validation" and not validates:
            raise ValueError(
                "selection.rule = best_validation: no pool holds validation problems; set "
                "validation, a pool of role validation, or selection.rule = last"
            )
        return self

    @model_validator(mode="after")
    def _writers_serve(self) -> Self:
        reading = [teacher.name for teacher in self.teachers if teacher.file is not None]
        if reading:
            raise ValueError(f"teachers {reading}: a file cannot answer; it serves as a generator")
        if self.learner.mismatch_limit is not None:
            raise ValueError("learner.mismatch_limit: nothing is sampled here; remove it")
        if self.learner.lora is not None and self.learner.lora.publish == "adapter":
            raise ValueError(
                "learner.lora.publish = adapter: nothing is published here, policies are tested "
                "merged; remove it"
            )
        if self.scoring.evaluation_reward is not None:
            raise ValueError("scoring.evaluation_reward: scoring.reward grades here; remove it")
        return self

    @staticmethod
    def _splits(pool: CftPoolSection, field: str) -> bool:
        return pool.role == "split" and getattr(pool, field) > 0

    def reward_of(self, pool: PoolSection) -> PluginConfig:
        """The reward that grades answers to the problems of ``pool``."""
        reward = pool.reward or self.scoring.reward
        assert reward is not None, "checked by _pools_serve"
        return reward
