"""A run under Ray whose rank broadcasts weights to two engines, which pass for GPUs."""

import importlib.util
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import fake_gpu_hosts
import pytest

from rlreason import build_ray
from rlreason.cluster import ray_cluster
from rlreason.config import ClusterSection
from rlreason.config_file import load_config
from rlreason.restarting import train_to_the_end

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the ray extra"
)
HERE = Path(__file__).parent
SMALL = (
    "run.steps=3",
    "learner.learning_rate=1e-2",
    "rollout.problems_per_step=12",
    "evaluation.every=0",
    "cluster.threads=1",
    "cluster.backend=ray",
    "cluster.engines=2",
    "cluster.layout=separate",
    "cluster.weight_sync=nccl",
)


def unrefused(bundles: Any, section: ClusterSection, **options: Any) -> Any:
    """What the layout reserves; that there is no GPU is passed over."""
    return bundles(section.model_copy(update={"weight_sync": "shared_memory"}), **options)


def test_ranks_that_broadcast_weights_train_engines_that_sample_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = (HERE, HERE.parent, HERE.parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, path)))
    monkeypatch.setattr(build_ray, "host_engine", fake_gpu_hosts.host_engine)
    monkeypatch.setattr(build_ray, "host_sender", fake_gpu_hosts.host_sender)
    monkeypatch.setattr(ray_cluster, "bundles", partial(unrefused, ray_cluster.bundles))
    train_to_the_end(load_config("grpo.yaml", [*SMALL, f"run.folder={tmp_path}"]))
    lines = (tmp_path / "quickstart" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    assert [step["learned"] for step in steps] == [True] * 3
    # The rate is so high that older weights would be told from the learner's by their logprobs.
    assert max(step["mismatch_abs"] for step in steps) < 1e-5
