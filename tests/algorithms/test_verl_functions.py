"""Values and gradients against verl's own functions, where verl is installed: verl_functions.py.

What differs by convention:

- verl whitens advantages over tokens (REINFORCE++, GDPO), so a long completion counts more in mean
  and deviation; here each completion counts once. Equal for one token each, as below.
- verl adds 1e-8 to a variance where 1e-6 is added to a standard deviation here. Rewards have a
  spread of 100 below, so that neither shows.
- verl bounds log ratios at +-20 and k3 at 10; here nothing bounds them. No batch below comes near.
- verl's dual clip cannot be left out; 1e9 stands for none.
- verl's loss is that of one rank times the number of ranks, because its gradients are averaged.
"""

from typing import Any

import numpy as np
import pytest
import torch
import verl_functions
from test_trl_losses import Padded, random_batch
from torch import Tensor

from rlreason.algorithms.advantages import (
    centered,
    gdpo,
    group_normalized,
    leave_one_out,
    reinforce_pp,
    reinforce_pp_baseline,
    remax,
)
from rlreason.algorithms.aggregation import AGGREGATIONS, Denominators
from rlreason.algorithms.control import next_kl_coefficient
from rlreason.algorithms.kl import KlEstimator, kl_per_token
from rlreason.algorithms.losses import LOSSES, LossInput
from rlreason.algorithms.offpolicy import importance_weights
from rlreason.algorithms.sequences import Sequences
from rlreason.config import AlgorithmSection

pytestmark = pytest.mark.skipif(
    not verl_functions.is_installed(), reason="pip install --no-deps verl==0.9.1"
)
GROUPS, SIZE = 5, 4
CLOSE: dict[str, Any] = {"atol": 1e-6, "rtol": 1e-6}


class Options(dict):
    """A configuration as verl reads it: by key and by attribute."""

    __getattr__ = dict.__getitem__


def step_rewards(seed: int) -> tuple[Tensor, Tensor]:
    """[groups, group_size] rewards and a second part."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, GROUPS, SIZE)
    first, second = 100 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return first, second


def spread(rewards: Tensor) -> tuple[Tensor, Tensor, np.ndarray]:
    """As verl holds them: the reward on the last token, a mask, the group of each."""
    values = rewards.reshape(GROUPS * SIZE, 1).clone()
    return values, torch.ones_like(values), np.arange(GROUPS).repeat(SIZE)


def theirs_of(name: str, rewards: Tensor, **options: Any) -> Tensor:
    core = verl_functions.load().core
    values, mask, index = spread(rewards)
    if name == "remax":
        options["reward_baselines"] = options["reward_baselines"].repeat_interleave(SIZE)
    elif name != "reinforce_plus_plus":
        options["index"] = index
    given: Any = core.get_adv_estimator_fn(name)(values, response_mask=mask, **options)[0]
    return given.reshape(GROUPS, SIZE)


@pytest.mark.parametrize("seed", range(3))
def test_advantages_are_those_of_verl(seed: int) -> None:
    rewards, second = step_rewards(seed)
    counted, baseline = torch.ones_like(rewards, dtype=torch.bool), second[:, 0]
    gamma = Options(gamma=1.0)
    pairs = {
        "grpo": (group_normalized(rewards, counted), theirs_of("grpo", rewards)),
        "centred grpo": (
            centered(rewards, counted),
            theirs_of("grpo", rewards, norm_adv_by_std_in_grpo=False),
        ),
        "rloo": (leave_one_out(rewards, counted), theirs_of("rloo", rewards)),
        "reinforce++": (
            reinforce_pp(rewards, counted),
            theirs_of("reinforce_plus_plus", rewards, config=gamma),
        ),
        "reinforce++ baseline": (
            reinforce_pp_baseline(rewards, counted),
            theirs_of("reinforce_plus_plus_baseline", rewards),
        ),
        "remax": (
            remax(rewards, counted, baseline),
            theirs_of("remax", rewards, reward_baselines=baseline),
        ),
    }
    for name, (mine, theirs) in pairs.items():
        torch.testing.assert_close(mine, theirs, **CLOSE, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("seed", range(3))
def test_gdpo_is_that_of_verl(seed: int) -> None:
    first, second = step_rewards(seed)
    values, mask, index = spread(first)
    theirs, _ = verl_functions.load().core.compute_gdpo_outcome_advantage(
        values,
        mask,
        index,
        config=Options(gdpo_reward_keys=["a", "b"], gdpo_reward_weights=[100.0, 50.0]),
        non_tensor_batch={"a": first.flatten().numpy(), "b": second.flatten().numpy()},
        batch={
            "prompts": torch.zeros(GROUPS * SIZE, 1),
            "attention_mask": torch.ones(GROUPS * SIZE, 2, dtype=torch.int64),
        },
    )
    counted = torch.ones_like(first, dtype=torch.bool)
    mine = gdpo({"a": first, "b": second}, counted, {"a": 100.0, "b": 50.0})
    torch.testing.assert_close(mine, theirs.reshape(GROUPS, SIZE), **CLOSE)


LOSS_CASES = {
    "vanilla": ({}, {}),
    "vanilla clip-higher": ({"clip_high": 0.28}, {"clip_ratio_high": 0.28}),
    "vanilla dual clip": ({"dual_clip": 1.4}, {"clip_ratio_c": 1.4}),
    "gspo": (
        {"loss": "gspo", "clip_low": 0.1, "clip_high": 0.15},
        {"clip_ratio_low": 0.1, "clip_ratio_high": 0.15},
    ),
    "cispo": (
        {"loss": "cispo", "clip_low": 0.5, "clip_high": 0.1},
        {"clip_ratio_low": 0.5, "clip_ratio_high": 0.1},
    ),
}
AGGREGATED = {
    "token_mean": "token-mean",
    "sequence_mean": "seq-mean-token-mean",
    "constant": "seq-mean-token-sum-norm",
}


def mine_of(batch: Padded, policy: Tensor, section: AlgorithmSection) -> Tensor:
    ids = torch.arange(len(batch.mask)).repeat_interleave(batch.mask.sum(dim=1))
    sequences, everything = Sequences(ids, len(batch.mask)), torch.ones(len(ids), dtype=torch.bool)
    given = LossInput(
        policy[batch.mask], batch.old[batch.mask], batch.advantages[ids], everything, sequences
    )
    return AGGREGATIONS[section.aggregation](
        LOSSES[section.loss].per_token(given, section).values,
        loss_mask=everything,
        sequences=sequences,
        denominators=Denominators(len(ids), len(batch.mask)),
        options=section,
    )


def verl_loss(
    batch: Padded, policy: Tensor, name: str, mode: str, options: dict[str, Any], **counts: Any
) -> Tensor:
    core = verl_functions.load().core
    config = core.ActorConfig()
    for key, value in {
        "clip_ratio": 0.2,
        "clip_ratio_low": None,
        "clip_ratio_high": None,
        "clip_ratio_c": 1e9,
        "global_batch_info": {"loss_scale_factor": batch.mask.shape[1]} | counts,
        **options,
    }.items():
        setattr(config, key, value)
    config.get = lambda key, default: getattr(config, key, default)
    mask = batch.mask.to(policy.dtype)
    loss, _ = core.get_policy_loss_fn(name)(
        batch.old, policy, batch.advantages[:, None].expand_as(policy), mask, mode, config
    )
    return loss


@pytest.mark.parametrize("aggregation", AGGREGATED)
@pytest.mark.parametrize("name", LOSS_CASES)
@pytest.mark.parametrize("seed", range(2))
def test_losses_and_gradients_are_those_of_verl(name: str, aggregation: str, seed: int) -> None:
    batch, (mine, theirs) = random_batch(seed), LOSS_CASES[name]
    constant = batch.mask.shape[1] if aggregation == "constant" else None
    section = AlgorithmSection.model_validate(
        {**mine, "aggregation": aggregation, "tokens_per_sequence": constant}
    )
    results = []
    for side in ("mine", "theirs"):
        policy = batch.policy.clone().requires_grad_()
        loss = (
            mine_of(batch, policy, section)
            if side == "mine"
            else verl_loss(batch, policy, name.split()[0], AGGREGATED[aggregation], theirs)
        )
        loss.backward()
        results.append((loss.detach(), policy.grad))
    torch.testing.assert_close(results[0], results[1], **CLOSE)


@pytest.mark.parametrize("aggregation", AGGREGATED)
def test_two_ranks_of_verl_average_to_our_whole(aggregation: str) -> None:
    batch, mode = random_batch(7), AGGREGATED[aggregation]
    constant = batch.mask.shape[1] if aggregation == "constant" else None
    section = AlgorithmSection.model_validate(
        {"aggregation": aggregation, "tokens_per_sequence": constant}
    )
    counts = {
        "dp_size": 2,
        "batch_num_tokens": int(batch.mask.sum()),
        "global_batch_size": len(batch.mask),
    }
    ranks = [Padded(*(field[rows] for field in batch)) for rows in (slice(0, 2), slice(2, None))]
    theirs = [verl_loss(rank, rank.policy, "vanilla", mode, {}, **counts) for rank in ranks]
    torch.testing.assert_close(mine_of(batch, batch.policy, section), sum(theirs) / 2, **CLOSE)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_estimates_and_their_gradients_are_those_of_verl(estimator: KlEstimator) -> None:
    batch, results = random_batch(3), []
    for function in (kl_per_token, verl_functions.load().core.kl_penalty):
        policy = batch.policy.clone().requires_grad_()
        values = function(policy, batch.reference, estimator)
        values.sum().backward()
        results.append((values.detach(), policy.grad))
    torch.testing.assert_close(results[0], results[1], **CLOSE)


@pytest.mark.parametrize("kl", [-0.3, 0.02, 0.095, 0.1, 0.104, 9.0])
def test_the_kl_controller_is_that_of_verl(kl: float) -> None:
    theirs = verl_functions.load().core.AdaptiveKLController(0.4, target_kl=0.1, horizon=50)
    theirs.update(kl, n_steps=5)  # our gain: steps over horizon
    assert next_kl_coefficient(0.4, kl, target=0.1, gain=5 / 50) == pytest.approx(theirs.value)


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("kind", ["truncated", "masked"])
def test_importance_weights_are_those_of_verl(level: str, kind: str) -> None:
    batch = random_batch(5)
    mask, cap = batch.mask, 1.3
    theirs, _ = verl_functions.load().correction.compute_rollout_correction_weights(
        batch.old - batch.rollout,
        mask.double(),
        rollout_is=level,
        rollout_is_threshold=cap if kind == "truncated" else f"{1 / cap!r}_{cap!r}",
    )
    ids = torch.arange(len(mask)).repeat_interleave(mask.sum(dim=1))
    mine = importance_weights(
        batch.old[mask],
        batch.rollout[mask],
        Sequences(ids, len(mask)),
        correction=f"{level}_{kind}",  # type: ignore[arg-type]
        cap=cap,
    )
    torch.testing.assert_close(mine.weights, theirs[mask], **CLOSE)
