"""What each part of a layout reserves."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from rlreason import build_ray
from rlreason.cluster import inline, ray_cluster
from rlreason.cluster.ray_cluster import bundles, reserve
from rlreason.config import ClusterSection, DeadlineSection
from rlreason.errors import ConfigError


def section(learners: int, engines: int, layout: str = "colocated") -> ClusterSection:
    return ClusterSection(backend="ray", learners=learners, engines=engines, layout=layout)


def test_colocated_a_rank_and_an_engine_share_a_gpu() -> None:
    assert bundles(section(2, 2), gpus=True) == ([{"CPU": 2.0, "GPU": 1.0}] * 2, 0)


def test_on_cpus_colocated_parts_need_not_come_in_pairs() -> None:
    assert bundles(section(1, 3), gpus=False) == ([{"CPU": 2.0}, {"CPU": 1.0}, {"CPU": 1.0}], 0)


def test_separate_engines_have_their_own_gpus_all_on_one_node() -> None:
    places, first = bundles(section(2, 1, "separate"), gpus=True, tensor_parallel=4)
    assert places == [{"CPU": 1.0, "GPU": 1.0}] * 2 + [{"CPU": 1.0, "GPU": 4.0}]
    assert first == 2


@pytest.mark.parametrize(("learners", "engines", "cut"), [(2, 1, 1), (2, 2, 2)])
def test_what_cannot_share_a_gpu_is_refused(learners: int, engines: int, cut: int) -> None:
    with pytest.raises(ConfigError, match="layout: separate"):
        bundles(section(learners, engines), gpus=True, tensor_parallel=cut)


def cluster(*sizes: dict[str, float]) -> Any:
    """A Ray that grants whatever is asked; each look at it finds the next size, then the last."""
    left = list(sizes)
    group = SimpleNamespace(wait=lambda seconds: True)
    return SimpleNamespace(
        cluster_resources=lambda: left.pop(0) if len(left) > 1 else left[0],
        util=SimpleNamespace(placement_group=lambda wanted, strategy: group),
    )


def test_a_run_that_begins_on_too_small_a_cluster_is_refused() -> None:
    with pytest.raises(ConfigError, match="need 4 CPUs where the cluster has 2 in layout"):
        reserve(cluster({"CPU": 2}, {"CPU": 2}, {"CPU": 4}), section(2, 2))


def test_a_run_that_lost_its_only_gpu_node_waits_for_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_cluster, "POLL_S", 0)
    cpus, whole = {"CPU": 8.0}, {"CPU": 12.0, "GPU": 2.0}
    places = reserve(cluster(cpus, cpus, whole), section(2, 2), had_gpus=True)
    assert places.rank_gpus == places.engine_gpus == 0.5
    impatient = section(2, 2).model_copy(update={"deadlines": DeadlineSection(start_s=1e-9)})
    with pytest.raises(ConfigError, match="need 2 GPUs where the cluster has 0"):
        reserve(cluster(cpus), impatient, had_gpus=True)


@pytest.mark.parametrize(
    ("weight_sync", "layout", "works"),
    [
        ("shared_memory", "colocated", True),
        ("shared_memory", "separate", True),
        ("cuda_ipc", "colocated", True),
        ("cuda_ipc", "separate", False),
        ("nccl", "separate", True),
        ("nccl", "colocated", False),
    ],
)
def test_weights_go_from_gpu_to_gpu_where_the_layout_has_a_way(
    weight_sync: str, layout: str, works: bool
) -> None:
    fields = {"backend": "ray", "weight_sync": weight_sync, "layout": layout}
    if not works:
        with pytest.raises(ValidationError, match="take weight_sync: shared_memory"):
            ClusterSection(**fields)
        return
    asked = ClusterSection(**fields)
    assert bundles(asked, gpus=True)[0]
    if weight_sync != "shared_memory":
        with pytest.raises(ConfigError, match="this cluster has none"):
            bundles(asked, gpus=False)


def test_inline_the_engine_reads_weights_in_place() -> None:
    with pytest.raises(ValidationError, match="needs backend: ray"):
        ClusterSection(weight_sync="cuda_ipc")


@pytest.mark.parametrize(("address", "nccl"), [(None, "lo"), ("auto", "unset")])
def test_nccl_keeps_to_the_loopback_where_all_of_the_cluster_is_one_machine(
    address: str | None, nccl: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All ranks are on this node either way; in a joined cluster the engines may be on another.
    monkeypatch.setattr(inline, "prepare_process", lambda *_: None)
    monkeypatch.setattr(build_ray, "make_learner", lambda _: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        os.environ.pop(name, None)
    cluster = ClusterSection(backend="ray", learners=2, address=address)
    plan: Any = SimpleNamespace(config=SimpleNamespace(cluster=cluster))
    build_ray.host_rank(0, 2, "file:///unused", plan)
    assert os.environ.get("NCCL_SOCKET_IFNAME", "unset") == nccl
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
