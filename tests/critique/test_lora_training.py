"""Critiques can be learned by an adapter: the build opens it, and a stopped training goes on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import real_parts
import torch
from test_training import MODEL, training
from transformers import AutoModelForCausalLM

from rlreason.build_cft import _learner_opener
from rlreason.config import CftConfig
from rlreason.config_file import load_run_config
from rlreason.critique.training import OpenLearner, Training, train_one
from rlreason.protocols import Learner


class Stopped(BaseException):
    """Stands for a signal that nothing can catch."""


def opener() -> OpenLearner:
    # Dropout draws random numbers in every forward: they must go on where they were left.
    lora = "learner.lora={rank: 4, alpha: 8, dropout: 0.2}"
    config = load_run_config("cft.yaml", [lora, "learner.learning_rate=1e-2"])
    assert isinstance(config, CftConfig)
    plan = SimpleNamespace(model=MODEL, encoder=real_parts.encoder())
    checked: Any = SimpleNamespace(plan=plan, grpo=real_parts.CONFIG)
    return _learner_opener(config, checked)


def stopping_at(step: int) -> OpenLearner:
    open_learner = opener()

    def open_one(policy: Path | None, updates: int) -> Learner:
        learner = open_learner(policy, updates)
        update = learner.update

        def stop(batches: Any, *, step: int) -> Any:
            if step == stop_at:
                raise Stopped
            return update(batches, step=step)

        learner.update = stop  # type: ignore[method-assign,assignment]
        return learner

    stop_at = step
    return open_one


def small() -> Training:
    return training(updates=4, checkpoint_every=2)


def test_an_adapter_learns_critiques_and_a_stopped_training_ends_with_the_same_bits(
    tmp_path: Path,
) -> None:
    straight = train_one(small(), tmp_path / "straight", opener(), lambda update: None)
    with pytest.raises(Stopped):
        train_one(small(), tmp_path / "stopped", stopping_at(3), lambda update: None)
    torch.manual_seed(99)
    resumed = train_one(small(), tmp_path / "stopped", opener(), lambda update: None)
    assert [row.digest for row in resumed] == [row.digest for row in straight]
    assert [row.loss for row in resumed] == [row.loss for row in straight]

    policy = AutoModelForCausalLM.from_pretrained(tmp_path / straight[-1].policy)
    before = AutoModelForCausalLM.from_pretrained(MODEL)
    changed = {
        name
        for name, weight in policy.named_parameters()
        if not torch.equal(weight, before.get_parameter(name))
    }
    assert changed == {name for name, _ in before.named_parameters() if "_proj" in name}
    place = next((tmp_path / "straight").glob("*/resume/*/adapter/adapter_config.json"))
    assert place.is_file()
