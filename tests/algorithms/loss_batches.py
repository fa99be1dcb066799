"""Random flat batches of sequences in groups, and what every loss must keep."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rlreason.algorithms.losses import LOSSES, LossInput, TokenLoss, sequence_log_ratios
from rlreason.algorithms.sequences import Sequences
from rlreason.config import AlgorithmSection

OPTIONS = {
    "clipped": AlgorithmSection(clip_low=0.2, clip_high=0.28, dual_clip=3.0),
    "cispo": AlgorithmSection(loss="cispo", clip_low=0.5, clip_high=0.3),
    "gspo": AlgorithmSection(loss="gspo", clip_low=0.05, clip_high=0.07),
    "p3o": AlgorithmSection(loss="p3o", aggregation="sequence_mean"),
    "p3o_joint": AlgorithmSection(
        loss="p3o_joint", aggregation="sequence_mean", pair_ratio="token_mean"
    ),
    "reinforce": AlgorithmSection(loss="reinforce"),
    "likelihood": AlgorithmSection(loss="likelihood"),
    "distillation": AlgorithmSection(loss="distillation", clip_low=0.3, clip_high=0.4),
}


class Batch(NamedTuple):
    """Flat tokens of ``len(groups)`` sequences."""

    policy: Tensor
    old: Tensor
    advantages: Tensor
    teacher: Tensor
    mask: Tensor
    sequences: Sequences
    groups: Tensor


def random_batch(seed: int, dtype: torch.dtype = torch.float64, group_size: int = 3) -> Batch:
    """Two groups of sequences with one to five tokens, a fifth of the tokens masked."""
    generator = torch.Generator().manual_seed(seed)
    count = 2 * group_size
    lengths = torch.randint(1, 6, (count,), generator=generator)
    ids = torch.arange(count).repeat_interleave(lengths)
    old, drift, teacher = (
        torch.randn(len(ids), generator=generator, dtype=dtype) for _ in ("old", "drift", "teacher")
    )
    mask = torch.rand(len(ids), generator=generator) < 0.8
    starts = lengths.cumsum(0) - lengths
    mask[starts] = True  # no sequence without a loss token
    per_sequence = torch.randn(count, generator=generator, dtype=dtype)
    return Batch(
        policy=old + 0.3 * drift,
        old=old,
        advantages=per_sequence[ids],
        teacher=teacher,
        mask=mask,
        sequences=Sequences(ids, count),
        groups=torch.arange(count) // group_size,
    )


def loss_of(name: str, batch: Batch, coupling: Tensor | None = None) -> TokenLoss:
    """The loss as the learner calls it; the coupling of this batch where none is given."""
    options, spec = OPTIONS[name], LOSSES[name]
    if spec.couple is not None and coupling is None:
        coupling = couple(name, batch)
    given = LossInput(
        policy_logprobs=batch.policy,
        old_logprobs=batch.old,
        advantages=batch.advantages,
        loss_mask=batch.mask,
        sequences=batch.sequences,
        teacher_logprobs=batch.teacher,
        coupling=coupling,
    )
    return spec.per_token(given, options)


def couple(name: str, batch: Batch) -> Tensor:
    """[5, sequences] P3O's coefficients of the whole batch."""
    function = LOSSES[name].couple
    assert function is not None
    ratios = sequence_log_ratios(
        batch.policy.detach(),
        batch.old,
        batch.mask,
        batch.sequences,
        token_mean=OPTIONS[name].pair_ratio == "token_mean",
    )
    advantages = batch.sequences.firsts(batch.advantages)
    return function(ratios, advantages, batch.groups, OPTIONS[name])


def part(batch: Batch, first: int, last: int) -> Batch:
    """The sequences from ``first`` to before ``last``, as a micro-batch or a rank holds them."""
    keep = (batch.sequences.ids >= first) & (batch.sequences.ids < last)
    return Batch(
        *(tensor[keep] for tensor in batch[:5]),
        Sequences(batch.sequences.ids[keep] - first, last - first),
        batch.groups[first:last],
    )


def soiled(batch: Batch, garbage: float) -> Batch:
    """``batch`` with ``garbage`` wherever the mask is False."""
    return Batch(*(tensor.masked_fill(~batch.mask, garbage) for tensor in batch[:4]), *batch[4:])


def reference_tokens(name: str, batch: Batch) -> list[float]:
    """Each loss once more, token by token in plain Python, sharing no code with the package."""
    ids = batch.sequences.ids.tolist()
    rows = [t.tolist() for t in batch[:5]]
    tokens = [
        [(p, o, a, t) for p, o, a, t, m, i in zip(*rows, ids, strict=True) if m and i == number]
        for number in range(batch.sequences.size)
    ]
    gains = [_pair_gain(name, batch, tokens, number) for number in range(len(tokens))]
    result, seen = [], [0] * len(tokens)
    for masked, number in zip(rows[4], ids, strict=True):
        if not masked:
            result.append(0.0)
            continue
        sequence = tokens[number]
        p, o, a, t = sequence[seen[number]]
        seen[number] += 1
        mean_gap = sum(x[0] - x[1] for x in sequence) / len(sequence)
        result.append(
            _token(name, p, o, a, t, mean_gap) if gains[number] is None else -gains[number]
        )
    return result


def _clip(ratio: float, low: float, high: float) -> float:
    return min(max(ratio, 1 - low), 1 + high)


def _token(name: str, p: float, o: float, a: float, t: float, mean_gap: float) -> float:
    ratio = math.exp(p - o)
    if name == "clipped":
        surrogate = min(ratio * a, _clip(ratio, 0.2, 0.28) * a)
        return -(max(surrogate, 3.0 * a) if a < 0 else surrogate)
    if name == "cispo":
        return -_clip(ratio, 0.5, 0.3) * a * p
    if name == "gspo":
        ratio = math.exp(mean_gap)
        return -min(ratio * a, _clip(ratio, 0.05, 0.07) * a)
    if name == "distillation":
        return -min(ratio * (t - o), _clip(ratio, 0.3, 0.4) * (t - o))
    return -a * p


def _pair_gain(name: str, batch: Batch, tokens: list, number: int) -> float | None:
    if not name.startswith("p3o"):
        return None
    groups = batch.groups.tolist()
    others = [n for n in range(len(tokens)) if groups[n] == groups[number] and n != number]
    gaps = [sum(p - o for p, o, *_ in s) / (1 if name == "p3o" else len(s)) for s in tokens]
    total = 0.0
    for other in others:
        difference = tokens[number][0][2] - tokens[other][0][2]
        if name == "p3o":
            a, rho = difference * math.exp(gaps[other]), math.exp(gaps[number])
            total += min(a * rho, a * _clip(rho, 0.2, 0.2))
        else:
            a = difference * math.exp(gaps[other] + gaps[number])
            odds = gaps[number] - gaps[other]
            total += min(a * odds, a * min(max(odds, -0.2), 0.2)) / 2
    return total / len(others) if others else 0.0
