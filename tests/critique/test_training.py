"""Trainings are done once, go on where they were killed, and start anew when their data changed."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import real_parts
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlreason.cluster.inline import prepare_process
from rlreason.config import ClusterSection, LearnerSection, PromptSection
from rlreason.critique.lessons import Lesson, batch_of, encode
from rlreason.critique.training import Training, train_one
from rlreason.data.prompts import PromptEncoder
from rlreason.errors import TrainingStopped
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.learner.policy import load_model
from rlreason.models import resolve_model
from rlreason.protocols import Learner
from rlreason.types import Problem, TrainBatch, UpdateStats

MODEL = resolve_model("tiny-arithmetic-critic")
LEARNER = LearnerSection(
    learning_rate=1e-3, schedule="cosine", warmup_steps=2, weight_decay=0.1, max_grad_norm=1e9
)


def training(**changes: object) -> Training:
    codec = PromptEncoder(AutoTokenizer.from_pretrained(MODEL), PromptSection())
    lessons = [
        Lesson(
            prompt=Problem(id=str(n), pool="p", prompt=f"add {n}+{n}"),
            target=f"\\boxed{{{2 * n}}}",
            about="p/1",
        )
        for n in range(10, 15)
    ]
    sequences, _ = encode(lessons, codec, max_tokens=99)
    values = {
        "method": "cft",
        "group": "all",
        "seed": 0,
        "sequences": tuple(sequences),
        "updates": 7,
        "batch_size": 4,
        "checkpoint_every": 3,
        "settings": {},
    }
    return Training(**(values | changes))


class Killed(BaseException):
    """Stands for a signal that nothing can catch."""


class Openings:
    """Opens real learners, remembers where from, and may stop one at an update."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.starts: list[str | None] = []
        self.updates: list[int] = []
        self._stop_at = stop_at

    def __call__(self, policy: Path | None, updates: int) -> Learner:
        prepare_process(ClusterSection(threads=1))
        self.starts.append(policy and policy.parent.name)
        learner = DeepSpeedLearner(
            load_model(policy or MODEL, real_parts.CONFIG.model),
            AutoTokenizer.from_pretrained(MODEL),
            learner=LEARNER,
            algorithm=real_parts.CONFIG.algorithm,
            temperature=1.0,
            total_steps=updates,
        )
        inner = learner.update

        def update(batches: Sequence[TrainBatch], *, step: int) -> UpdateStats:
            if step == self._stop_at:
                raise Killed
            self.updates.append(step)
            return inner(batches, step=step)

        learner.update = update  # type: ignore[method-assign]
        return learner


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight") / "checkpoints"
    train_one(training(), folder, Openings(), lambda update: None)
    return folder


def digests(folder: Path) -> list[str]:
    rows = train_one(training(), folder, Openings(), lambda update: None)
    assert [row.update for row in rows] == [3, 6, 7]
    return [row.digest for row in rows]


def test_the_gradient_is_that_of_supervised_learning(straight: Path) -> None:
    """Plain torch and transformers, from the formula: mean NLL of the target's tokens."""
    plan = training()
    model = AutoModelForCausalLM.from_pretrained(MODEL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=LEARNER.betas, weight_decay=0.1)
    rates = [5e-4, 1e-3, 1e-3]  # two updates of warm-up, then the top of the cosine
    for update, rate in enumerate(rates):
        batch = batch_of(plan.sequences, update=update, batch_size=4, seed=0)
        optimizer.param_groups[0]["lr"] = rate
        total = torch.zeros(())
        for sequence in batch.sequences:
            ids = torch.tensor([sequence.token_ids])
            logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
            for t, counted in enumerate(sequence.loss_mask):
                if counted:
                    total = total - logprobs[t - 1, sequence.token_ids[t]]
        optimizer.zero_grad()
        (total / batch.num_loss_tokens).backward()
        optimizer.step()
    ours = AutoModelForCausalLM.from_pretrained(straight / plan.name / "policies" / "000003")
    for mine, theirs in zip(ours.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5)


def test_a_finished_training_is_not_done_again(straight: Path) -> None:
    openings = Openings()
    rows = train_one(training(), straight, openings, lambda update: None)
    assert openings.starts == []
    assert rows[-1].policy == "checkpoints/cft.all.seed0/policies/000007"


@pytest.mark.parametrize(("stop_at", "resumed_from"), [(2, None), (4, "000003"), (6, "000006")])
def test_a_killed_training_ends_with_the_same_bits(
    straight: Path, tmp_path: Path, stop_at: int, resumed_from: str | None
) -> None:
    folder = tmp_path / "checkpoints"
    with pytest.raises(Killed):
        train_one(training(), folder, Openings(stop_at), lambda update: None)
    openings = Openings()
    train_one(training(), folder, openings, lambda update: None)
    assert openings.starts == [resumed_from]
    assert openings.updates == list(range(int(resumed_from or 0), 7))
    assert digests(folder) == digests(straight)
    log = folder / "cft.all.seed0" / "updates.jsonl"
    assert [json.loads(line)["update"] for line in log.read_text().splitlines()] == list(range(7))
    assert log.read_text() == (straight / "cft.all.seed0" / "updates.jsonl").read_text()


def test_other_data_is_another_training(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(straight, folder)
    plan = training()
    openings = Openings()
    changed = training(sequences=plan.sequences[:4])
    assert changed.hash != plan.hash != training(settings={"weights": "others"}).hash
    train_one(changed, folder, openings, lambda update: None)
    assert openings.starts == [None]
    assert openings.updates == list(range(7))


def test_seeds_end_differently(straight: Path, tmp_path: Path) -> None:
    [*_, other] = train_one(training(seed=1), tmp_path / "c", Openings(), lambda update: None)
    assert other.digest != digests(straight)[-1]


def test_updates_that_stay_non_finite_stop_the_training(tmp_path: Path) -> None:
    class Diverging(Openings):
        def __call__(self, policy: Path | None, updates: int) -> Learner:
            learner = super().__call__(policy, updates)
            for parameter in learner._model.parameters():
                parameter.data.fill_(float("nan"))
            return learner

    with pytest.raises(TrainingStopped, match="3 updates in a row were not finite"):
        train_one(training(), tmp_path / "c", Diverging(), lambda update: None)
