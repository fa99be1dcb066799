"""The real learner and the real engine on the shipped model, small, for tests of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from rlreason.algorithms.batching import make_train_batches
from rlreason.cluster.inline import prepare_process
from rlreason.config import ClusterSection, GrpoConfig, PromptSection
from rlreason.data.arithmetic import ArithmeticSource
from rlreason.data.problems import read_problems
from rlreason.data.prompts import PromptEncoder
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.learner.policy import load_model
from rlreason.models import resolve_model
from rlreason.obtain import Answered, with_advantages
from rlreason.rollout.vllm_engine import EngineStart, VllmEngine
from rlreason.types import Problem, RolloutGroup, Score, ScoredGroup, TrainBatch

MODEL = resolve_model("tiny-arithmetic")
CONFIG = GrpoConfig.model_validate(
    {
        "model": {"path": "tiny-arithmetic"},
        "pools": [{"name": "add3", "source": "arithmetic:add", "reward": "unused:Unused"}],
        "rollout": {
            "problems_per_step": 4,
            "group_size": 4,
            "temperature": 0.8,
            "max_completion_tokens": 48,
        },
        "learner": {"learning_rate": 5e-4},
        "cluster": {"threads": 1},
    }
)

_ENGINES: list[VllmEngine] = []


def encoder() -> PromptEncoder:
    return PromptEncoder(AutoTokenizer.from_pretrained(MODEL), PromptSection())


def problems(count: int, digits: int = 3) -> list[Problem]:
    source = ArithmeticSource(task="add", digits=digits, size=count, seed=0)
    return read_problems(source, "add3", needs_answer=True, max_prompt_chars=100)


def kept(engine: VllmEngine) -> VllmEngine:
    """Keep an engine to the end: it takes the process group of later learners with it."""
    _ENGINES.append(engine)
    return engine


def start_engine(transfer: str | None = None) -> VllmEngine:
    prepare_process(ClusterSection(threads=1))
    codec = encoder()
    eos = codec.tokenizer.eos_token_id
    start = EngineStart(path=MODEL, version=0, max_len=96, eos_ids=(eos,), threads=1)
    start = start._replace(transfer=transfer)
    return kept(VllmEngine(CONFIG, codec, start))


def start_learner(**options: Any) -> DeepSpeedLearner:
    prepare_process(ClusterSection(threads=1))
    return DeepSpeedLearner(
        load_model(MODEL, CONFIG.model),
        AutoTokenizer.from_pretrained(MODEL),
        learner=CONFIG.learner.model_copy(update=options),
        algorithm=CONFIG.algorithm,
        temperature=CONFIG.rollout.temperature,
        total_steps=100,
    )


def reset(engine: VllmEngine) -> None:
    """Give the engine the shipped weights again."""
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    engine.load_weights(model.named_parameters(), version=0)


def scored_by_tokens(groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
    """Reward high token ids: every group of different completions has signal."""
    ordered = sorted(groups, key=lambda group: group.slot)
    answered = [
        Answered(group, tuple(Score(value=float(sum(r.completion_ids))) for r in group.rollouts))
        for group in ordered
    ]
    return with_advantages(answered, CONFIG.algorithm)


def sample_batch(engine: VllmEngine, step: int, count: int = 4) -> list[TrainBatch]:
    groups = list(engine.generate(problems(count), step=step))
    return make_train_batches(scored_by_tokens(groups), updates=1)
