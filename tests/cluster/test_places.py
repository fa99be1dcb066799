"""What each part of a layout reserves."""

import pytest
from pydantic import ValidationError

from rlreason.cluster.ray_cluster import bundles
from rlreason.config import ClusterSection
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
