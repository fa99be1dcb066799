"""What the machine itself must hold: cases worked by hand; what is refused and what warned of."""

from typing import Any

import pytest
from test_memory_plan import EIGHT, JOB, recipe

from rlreason.cluster.ray_cluster import STORE_BYTES, store_bytes
from rlreason.errors import ConfigError
from rlreason.machine import HostMemory, host_memory
from rlreason.memory.host import (
    PROCESS_BYTES,
    RAY_BYTES,
    WORKER_BYTES,
    HostPlan,
    Stay,
    plan_host,
    require_host,
)
from rlreason.memory.plan import GIB

CPU = Stay(on_gpu=False, sleeps=False, cache_share=0.4)
GPU = Stay(on_gpu=True, sleeps=True, cache_share=0.4)
LARGE = HostMemory(total=2000 * GIB, available=1900 * GIB, shared=1000 * GIB)


def plan(config: Any, stay: Stay, machine: HostMemory | None = LARGE) -> HostPlan:
    weights = JOB.model.parameters * JOB.model.bytes_of(config.model.dtype)
    store = store_bytes(weights) if config.cluster.backend == "ray" else 0
    return plan_host(config, JOB, stay._replace(store=store), machine)


def test_on_gpus_a_machine_holds_loading_models_and_then_sleeping_engines() -> None:
    # 7e9 parameters in bfloat16: 14e9 bytes in each of eight ranks as they load, later in each of
    # eight sleeping engines and in a checkpoint; Ray's store has room for three versions.
    found = plan(recipe(3), GPU)
    starting, running = found.columns
    always = {
        "reward workers": WORKER_BYTES,
        "driver": PROCESS_BYTES,
        "Ray": RAY_BYTES,
        "object store, /dev/shm": 3 * 14e9 + STORE_BYTES,
        "processes": 16 * PROCESS_BYTES,
    }
    assert starting.parts == {"models on their way": 8 * 14e9} | always
    sleeping = {"sleeping engine": 8 * 14e9, "checkpoint on its way": 14e9}
    assert running.parts == sleeping | always
    # Certain are the engines; ranks may share the pages that they read.
    assert found.least == running.total - 14e9 - found.store


def test_engines_that_never_sleep_leave_nothing_there() -> None:
    found = plan(recipe(3), GPU._replace(sleeps=False))
    assert "sleeping engine" not in found.columns[1].parts
    assert found.least == found.columns[0].total - 7 * 14e9 - found.store


def test_a_reference_is_loaded_beside_the_policy() -> None:
    column, _ = plan(recipe(3, algorithm={"kl": 0.01}, cluster={}), GPU).columns
    assert column.parts["models on their way"] == 28e9


def test_on_a_cpu_everything_is_there() -> None:
    config = recipe(0, cluster={}, model={"dtype": "float32"})
    found = plan(config, CPU)
    (column,) = found.columns
    parts = column.parts
    # float32 without ZeRO: 4 bytes of weights, 8 of moments, 4 of gradients a parameter.
    assert [parts[name] for name in ("learner weights", "optimizer", "gradients")] == [
        28e9, 56e9, 28e9
    ]  # fmt: skip
    assert parts["engine weights"] == 28e9
    # 2 x 28 layers x 512 x 4 bytes a token, 256 sequences of 4096; two of them are the least.
    assert parts["KV cache"] == 114_688 * 256 * 4096
    spared = parts["activations or update"] + parts["engine workspace"]
    spared += parts["KV cache"] - 114_688 * 2 * 4096
    assert found.least == column.total - spared


def test_the_cache_on_a_cpu_is_a_share_of_what_is_free() -> None:
    config = recipe(0, cluster={}, model={"dtype": "float32"})
    (column,) = plan(config, CPU, LARGE._replace(available=100 * GIB)).columns
    assert column.parts["KV cache"] == 40 * GIB


def test_only_what_cannot_fit_is_refused() -> None:
    config = recipe(0, cluster={}, model={"dtype": "float32"})
    found = plan(config, CPU)
    enough = LARGE._replace(total=found.least, available=found.least - 1)
    require_host(plan(config, CPU, enough), config.cluster)
    less = enough._replace(total=found.least - 1)
    with pytest.raises(ConfigError, match=r"host memory: this machine needs .* at least"):
        require_host(found._replace(machine=less), config.cluster)


def test_what_may_not_fit_is_warned_of() -> None:
    config = recipe(3)
    assert plan(config, GPU).warnings == []
    (memory,) = plan(config, GPU, LARGE._replace(available=100 * GIB)).warnings
    assert memory.startswith("host memory: up to ")
    (store,) = plan(config, GPU, LARGE._replace(shared=GIB)).warnings
    assert "Ray's object store takes 39.4 GiB, /dev/shm has 1.0 free" in store


def test_of_other_machines_the_needs_alone_are_told() -> None:
    config = recipe(3, cluster=EIGHT | {"layout": "separate", "address": "auto"})
    found = plan(config, GPU._replace(sleeps=False), None)
    titles = [column.title for column in found.columns]
    assert titles == ["node of the driver", "and each learner rank", "and each engine"]
    assert found.columns[1].parts["models on their way"] == 14e9
    assert found.warnings == []
    require_host(found, config.cluster)


def test_this_machine_has_some_memory() -> None:
    found = host_memory()
    assert 0 < found.available <= found.total
