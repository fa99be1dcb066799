"""Which changes a continued run takes, above all those of its pools."""

from typing import Any

import pytest

from rlreason.config import GrpoConfig
from rlreason.config_changes import config_changes, in_words, refused_changes

POOLS = [{"name": name, "source": f"arithmetic:{name}"} for name in ("add", "add.x", "max")]
MIXTURE = {"use": "curricula.fixed_mixture:FixedMixture", "weights": {"add": 1}}


def config(pools: list[dict[str, Any]] = POOLS, **sections: Any) -> GrpoConfig:
    return GrpoConfig.model_validate(
        {
            "model": {"path": "tiny-arithmetic"},
            "scoring": {"reward": "a.b:C"},
            "curriculum": MIXTURE,
            "pools": pools,
            **sections,
        }
    )


ADAPT: dict[str, Any] = {"run": {"on_pool_change": "adapt"}}


def refused(now: GrpoConfig) -> set[str]:
    return set(refused_changes(config_changes(config(), now), now))


@pytest.mark.parametrize(
    ("pools", "told"),
    [
        ([*POOLS, {"name": "rev", "source": "arithmetic:rev"}], "pools: added ['rev'];"),
        (POOLS[1:], "pools: removed ['add'];"),
        ([{**POOLS[0], "name": "sum"}, *POOLS[1:]], "pools: added ['sum'] and removed ['add'];"),
        (POOLS[::-1], "pools: in another order;"),
    ],
)
def test_changed_pools_are_refused_by_name_and_allowed_by_the_flag(
    pools: list[dict[str, Any]], told: str
) -> None:
    changes = config_changes(config(), config(pools))
    assert list(changes) == ["pools"]
    assert told in in_words(changes)
    assert refused(config(pools)) == {"pools"}
    assert refused(config(pools, **ADAPT)) == set()


def test_the_flag_does_not_let_a_kept_pool_change() -> None:
    # "pools.add.x.source" must not be taken for a field of the removed pool "add".
    changed = [{**POOLS[1], "source": "arithmetic:rev"}, POOLS[2]]
    assert refused(config(changed, **ADAPT)) == {"pools.add.x.source"}


def test_options_of_the_curriculum_change_with_the_pools_alone() -> None:
    other = {**MIXTURE, "weights": {"max": 2}}
    names = {"curriculum.weights.add", "curriculum.weights.max"}
    assert refused(config(curriculum=other, **ADAPT)) == names
    assert refused(config(POOLS[1:], curriculum=other, **ADAPT)) == set()
    uniform = {"curriculum": "curricula.uniform:Uniform"}
    assert "curriculum.use" in refused(config(POOLS[1:], **uniform, **ADAPT))
    assert refused(config(POOLS[1:], **ADAPT, rollout={"group_size": 4})) == {"rollout.group_size"}


def test_setting_the_flag_back_is_no_change_of_the_run() -> None:
    assert refused(config(**ADAPT)) == set()
