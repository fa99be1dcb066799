"""The page of the algorithms: it names everything there is, and its example works as it says."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from rlreason.algorithms.batching import SIGNAL_ALONE, BatchRules, collate, train_sequence
from rlreason.algorithms.kl import KlEstimator
from rlreason.algorithms.losses import LOSSES, Loss
from rlreason.config import AlgorithmSection, Correction
from rlreason.config.algorithm import AdvantageName, AggregationName, LossName
from rlreason.config_file import load_config, shipped_recipes
from rlreason.loop_metrics import ControlMetrics, RefillMetrics
from rlreason.plugins import load_plugin
from rlreason.types import Rollout, UpdateStats

README = Path(__file__).parents[2] / "rlreason" / "algorithms" / "README.md"
TEXT = README.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", [*get_args(AdvantageName), *get_args(LossName), *get_args(AggregationName)]
)
def test_every_name_of_the_configuration_has_a_row(name: str) -> None:
    assert re.search(rf"^\|.*`{name}`", TEXT, re.MULTILINE)


def test_estimators_and_corrections_are_explained() -> None:
    assert all(name in TEXT for name in get_args(KlEstimator))
    for name in get_args(Correction):
        level, kind = name.split("_")
        assert f"`{level}_*`" in TEXT
        assert {"truncated": "truncated at", "masked": "or 0 outside"}[kind] in TEXT


def test_every_field_of_the_algorithm_section_is_mentioned() -> None:
    for name in AlgorithmSection.model_fields:
        assert f"`{name}" in TEXT, name


@pytest.mark.parametrize("record", [UpdateStats, RefillMetrics, ControlMetrics])
def test_every_metric_that_an_algorithm_logs_is_explained(record: Any) -> None:
    table = TEXT.partition("## What is logged")[2].partition("\n## ")[0]
    for field in fields(record):
        assert re.search(rf"[`.]{field.name}`", table), field.name


def test_every_recipe_named_is_shipped_and_uses_what_its_row_says() -> None:
    table = TEXT.partition("## The algorithms of the field")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    checked = 0
    for row in (row for row in rows if len(row) == 6 and row[1].startswith("`")):
        recipe = row[1].split("`")[1]
        assert recipe in shipped_recipes()
        if recipe in ("cft.yaml", "grpo.yaml") or row[1].endswith("with"):
            continue
        algorithm = load_config(recipe).algorithm
        assert f"`{algorithm.loss}`" in row[3], recipe
        assert row[2].startswith("any") or row[2] == f"`{algorithm.advantage}`", recipe
        assert row[4] == "any" or row[4] == f"`{algorithm.aggregation}`", recipe
        checked += 1
    assert checked >= 12


def test_the_example_of_a_new_loss_works_without_touching_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlreason.algorithms.aggregation import Denominators
    from rlreason.learner.objective import OtherLogprobs, microbatch_loss

    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "dead_zone.py"
    path.write_text(code, encoding="utf-8")
    loss = load_plugin(f"{path}:dead_zone_loss", where="README")
    row = Loss(lambda given, options: loss(*given[:4], clip=options.clip_high))
    monkeypatch.setitem(LOSSES, "dead_zone", row)
    section = AlgorithmSection().model_copy(update={"loss": "dead_zone"})
    assert BatchRules.of(section, every_group=False) == SIGNAL_ALONE
    # ratios 0.5, 1.1 and 1.5 at advantage 2: the first and the last are outside of 1 +- 0.2
    rollout = Rollout(
        prompt_ids=(1,),
        completion_ids=(2, 3, 4),
        completion="x",
        rollout_logprobs=(0.0, 0.0, 0.0),
        finish_reason="stop",
        policy_version=0,
    )
    batch = collate([(train_sequence(rollout, advantage=2.0),)], torch.device("cpu"))
    policy = torch.tensor([0.5, 1.1, 1.5]).log().requires_grad_()
    value, sums = microbatch_loss(
        batch,
        policy,
        torch.zeros(3),
        algorithm=section,
        denominators=Denominators(3, 1),
        others=OtherLogprobs(old=torch.zeros(3)),
    )
    value.backward()
    assert value.item() == pytest.approx(-2.2 / 3)
    assert policy.grad is not None
    assert policy.grad.tolist() == pytest.approx([0.0, -2.2 / 3, 0.0])
    assert float(sums.clip) == 2
