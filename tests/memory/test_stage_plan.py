"""Critique fine-tuning: each stage alone on the GPU, shown by a dry run and refused by name."""

import functools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlreason.build_cft import open_cft
from rlreason.cli import app
from rlreason.config import CftConfig
from rlreason.config_file import load_run_config
from rlreason.errors import ConfigError
from rlreason.memory.plan import GIB
from rlreason.memory.stages import StagePlan
from rlreason.preflight_cft import CftPlan, as_grpo, preflight_cft
from rlreason.preflight_stages import memory_stages, require_stages_fit

LONG = ["training.batch_size=4096"]
"""A batch that fills any token budget."""


@functools.cache
def checked() -> CftPlan:
    return preflight_cft(recipe())


def recipe(*overrides: str) -> CftConfig:
    config = load_run_config("cft.yaml", list(overrides))
    assert isinstance(config, CftConfig)
    return config


def plan(*overrides: str) -> tuple[CftConfig, StagePlan]:
    """As after a preflight of its own, whose data is the same."""
    config = recipe(*overrides)
    gpu_bytes = int((config.cluster.gpu_gib or 0) * GIB)
    job = checked().plan.memory_job._replace(gpu_bytes=gpu_bytes)
    known = replace(checked().plan, memory_job=job)
    return config, memory_stages(config, replace(checked(), grpo=as_grpo(config), plan=known))


def test_every_local_model_is_a_stage_of_its_own() -> None:
    _, found = plan("cluster.gpu_gib=24", "seeds.choose=pass_rate")
    assert [column.title for column in found.gpu] == [
        "seeds", "generators.itself", "training", "evaluation"
    ]  # fmt: skip
    by_title = {column.title: column.parts for column in found.gpu}
    assert "optimizer" not in by_title["evaluation"]
    assert "engine weights" not in by_title["training"]
    # 129,408 parameters in float32, and AdamW's two moments.
    assert by_title["training"]["optimizer"] == 8 * 129_408
    assert [column.title for column in found.host.columns] == list(by_title)


def test_without_a_gpu_the_machine_holds_it() -> None:
    _, found = plan()
    assert found.gpu == ()
    training = next(column for column in found.host.columns if column.title == "training")
    assert training.parts["learner weights"] == 4 * 129_408


def test_adapters_are_planned_as_adapters() -> None:
    pytest.importorskip("peft")
    _, found = plan("cluster.gpu_gib=24", "learner.lora.rank=4", "learner.lora.dropout=0.1")
    training = next(column for column in found.gpu if column.title == "training")
    assert training.parts["optimizer"] < 8 * 129_408


@pytest.mark.parametrize(
    ("overrides", "stage", "remedy"),
    [
        (["cluster.gpu_gib=1.5"], "generators.itself", "take a smaller model"),
        (
            ["cluster.gpu_gib=2.3", "generators.itself.vllm.max_num_seqs=60000"],
            "generators.itself",
            r"a smaller cache fits: generators\.itself\.vllm\.kv_cache_memory_bytes=",
        ),
        (
            ["cluster.gpu_gib=2.4", "learner.tokens_per_microbatch=131072", *LONG],
            "training",
            r"this fits: model\.gradient_checkpointing=true",
        ),
        (
            ["cluster.gpu_gib=2.4", "learner.tokens_per_microbatch=2000000", *LONG],
            "training",
            r"fits?: .*learner\.tokens_per_microbatch=",
        ),
    ],
)
def test_what_cannot_fit_is_refused_by_its_name(
    overrides: list[str], stage: str, remedy: str
) -> None:
    config, found = plan(*overrides)
    with pytest.raises(ConfigError, match=rf"GPU memory: {re.escape(stage)} would hold.*{remedy}"):
        require_stages_fit(config, found)


def test_what_is_proposed_for_an_engine_fits() -> None:
    tight = ["cluster.gpu_gib=2.3", "generators.itself.vllm.max_num_seqs=60000"]
    config, found = plan(*tight)
    with pytest.raises(ConfigError) as caught:
        require_stages_fit(config, found)
    [change] = re.findall(r"generators\S+=\d+", str(caught.value))
    config, found = plan(*tight, change)
    require_stages_fit(config, found)
    assert found.gpu[0].total <= 2.3 * GIB


def test_a_dry_run_shows_the_plan_that_it_refuses() -> None:
    result = CliRunner().invoke(app, ["train", "cft.yaml", "--dry-run", "cluster.gpu_gib=1.5"])
    assert result.exit_code == 2
    assert "memory plan, GiB of 1.5 per GPU" in result.output
    assert "generators.itself would hold" in result.output


def test_a_run_that_does_not_fit_is_refused_before_it_has_a_folder(tmp_path: Path) -> None:
    config = recipe("cluster.gpu_gib=1.5", f"run.folder={tmp_path}")
    with pytest.raises(ConfigError, match="GPU memory: "), open_cft(config):
        pass
    assert list(tmp_path.iterdir()) == []
