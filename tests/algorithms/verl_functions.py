"""verl's pure functions, loaded without verl's dependencies: of these only torch is needed here.

    pip install --no-deps verl==0.9.1

The files run as they are. What they import for their annotations alone (Ray's, Hydra's and
tensordict's classes) is an empty class here.
"""

import functools
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, NamedTuple

import pytest

BARE = ("verl", "verl.utils", "verl.trainer", "verl.trainer.ppo", "verl.workers")
"""Packages whose ``__init__`` is not run."""
EMPTY = {
    "omegaconf": ("DictConfig",),
    "tensordict": ("TensorDict",),
    "verl.protocol": ("DataProto",),
    "verl.trainer.config": ("AlgoConfig",),
    "verl.trainer.config.algorithm": ("RolloutCorrectionConfig",),
    "verl.workers.config": ("ActorConfig",),
    "verl.workers.config.actor": ("PolicyLossConfig",),
}


class Verl(NamedTuple):
    """The modules that hold its mathematics."""

    core: Any
    """verl.trainer.ppo.core_algos"""
    correction: Any
    """verl.trainer.ppo.rollout_corr_helper"""


def is_installed() -> bool:
    return importlib.util.find_spec("verl") is not None


@functools.cache
def load() -> Verl:
    spec = importlib.util.find_spec("verl")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = spec.submodule_search_locations[0]
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for name in BARE:
            package = ModuleType(name)
            package.__path__ = ["/".join([root, *name.split(".")[1:]])]
            patch.setitem(sys.modules, name, package)
        for name, classes in EMPTY.items():
            module = ModuleType(name)
            for each in classes:
                setattr(module, each, type(each, (), {}))
            patch.setitem(sys.modules, name, module)
        device = ModuleType("verl.utils.device")
        device.get_device_name = lambda: "cpu"  # type: ignore[attr-defined]
        device.get_torch_device = lambda: None  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "verl.utils.device", device)
        groupwise = importlib.import_module("verl.utils.groupwise")
        for name in ("as_torch_index", "group_mean_std"):
            setattr(sys.modules["verl.utils"], name, getattr(groupwise, name))
        loaded = Verl(
            importlib.import_module("verl.trainer.ppo.core_algos"),
            importlib.import_module("verl.trainer.ppo.rollout_corr_helper"),
        )
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "verl":
            del sys.modules[name]
    return loaded
