"""Where the plan is shown and held: the dry run, the start of a run, and nowhere on a CPU."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlreason.build import open_run
from rlreason.cli import app
from rlreason.config_file import load_config
from rlreason.errors import ConfigError

POOL = "{name: a, source: arithmetic:add, options: {digits: 3, size: 100}, held_out: 8}"
SMALL = ["run.steps=1", "evaluation.every=0", f"pools=[{POOL}]"]


def dry_run(*overrides: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", "grpo.yaml", "--dry-run", *SMALL, *overrides])
    return result.exit_code, result.output


def test_a_dry_run_on_a_cpu_speaks_of_the_machine_alone() -> None:
    code, output = dry_run()
    assert code == 0
    assert "memory plan" not in output
    assert "host memory, GiB of " in output
    assert "KV cache" in output


def test_a_dry_run_prints_the_plan_of_a_gpu_that_is_not_here() -> None:
    code, output = dry_run("cluster.gpu_gib=24")
    assert code == 0
    assert "memory plan, GiB of 24.0 per GPU" in output
    assert "KV cache" in output


def test_a_dry_run_shows_the_plan_that_it_refuses() -> None:
    code, output = dry_run("cluster.gpu_gib=1.2")
    assert code == 2
    assert "memory plan, GiB of 1.2 per GPU" in output
    assert "GPU memory: " in output


def test_a_run_that_does_not_fit_is_refused_before_it_has_a_folder(tmp_path: Path) -> None:
    config = load_config("grpo.yaml", ["cluster.gpu_gib=1.2", f"run.folder={tmp_path}", *SMALL])
    with pytest.raises(ConfigError, match=r"GPU memory: .* GiB of 1\.2"), open_run(config):
        pass
    assert list(tmp_path.iterdir()) == []
