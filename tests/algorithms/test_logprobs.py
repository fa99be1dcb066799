"""Chunked logprobs against log_softmax of the whole, and the memory promise."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rlreason.algorithms.logprobs import chunk_size, chunked_logprobs

TOKENS, WIDTH, VOCABULARY = 13, 5, 11


def make(seed: int = 0) -> tuple[Tensor, nn.Linear, Tensor]:
    torch.manual_seed(seed)
    hidden = torch.randn(TOKENS, WIDTH, dtype=torch.float32, requires_grad=True)
    return hidden, nn.Linear(WIDTH, VOCABULARY), torch.randint(VOCABULARY, (TOKENS,))


def reference(hidden: Tensor, head: nn.Linear, targets: Tensor, temperature: float) -> tuple:
    """All logits at once, through torch's own distribution."""
    distribution = torch.distributions.Categorical(logits=head(hidden) / temperature)
    return distribution.log_prob(targets), distribution.entropy()


@given(chunk=st.integers(1, TOKENS + 3), temperature=st.sampled_from([0.6, 1.0, 1.7, 2.0]))
def test_any_chunk_size_gives_the_whole(chunk: int, temperature: float) -> None:
    hidden, head, targets = make()
    got = chunked_logprobs(hidden, head, targets, temperature=temperature, chunk=chunk)
    expected = reference(hidden, head, targets, temperature)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("entropy_gradient", [False, True])
def test_gradients_equal_those_of_the_whole(chunk: int, entropy_gradient: bool) -> None:
    hidden, head, targets = make()
    got = chunked_logprobs(
        hidden, head, targets, temperature=0.7, chunk=chunk, entropy_gradient=entropy_gradient
    )
    expected = reference(hidden, head, targets, 0.7)
    weight = torch.linspace(-1, 2, TOKENS)
    losses = [
        (weight * logprobs).sum() + (0.3 * weight * entropy).sum() * entropy_gradient
        for logprobs, entropy in (got, expected)
    ]
    inputs = [hidden, head.weight, head.bias]
    torch.testing.assert_close(
        torch.autograd.grad(losses[0], inputs), torch.autograd.grad(losses[1], inputs)
    )
    assert got[1].requires_grad == entropy_gradient


def test_no_more_than_one_chunk_of_logits_is_ever_held() -> None:
    hidden, head, targets = make()
    sizes: list[int] = []

    def spying_head(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return head(part)

    saved: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: saved.append(tuple(tensor.shape)) or tensor, lambda tensor: tensor
    ):
        logprobs, _ = chunked_logprobs(hidden, spying_head, targets, temperature=1.0, chunk=4)
    assert max(sizes) == 4
    # What backward keeps holds no vocabulary axis: the logits are computed again, chunk by chunk.
    assert all(VOCABULARY not in shape or shape == (VOCABULARY, WIDTH) for shape in saved)
    logprobs.sum().backward()
    assert max(sizes) == 4


@pytest.mark.parametrize(("chunk", "calls"), [(TOKENS, 1), (TOKENS - 1, 4)])
def test_logits_are_computed_again_only_where_there_is_more_than_one_chunk(
    chunk: int, calls: int
) -> None:
    hidden, head, targets = make()
    sizes: list[int] = []

    def spying_head(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return head(part)

    logprobs, entropies = chunked_logprobs(
        hidden, spying_head, targets, temperature=1.0, chunk=chunk
    )
    logprobs.sum().backward()
    assert len(sizes) == calls
    assert not entropies.requires_grad  # unless it is asked for


def test_no_tokens_give_no_logprobs() -> None:
    hidden, head, targets = make()
    got = chunked_logprobs(hidden[:0].bfloat16(), head, targets[:0], temperature=1.0, chunk=4)
    assert [len(part) for part in got] == [0, 0]
    assert {part.dtype for part in got} == {torch.float32}


def test_chunk_size_counts_float32_logits() -> None:
    # 1 MiB / (4 B * 1024) = 256 tokens; never 0, however large the vocabulary
    assert chunk_size(1024, 1) == 256
    assert chunk_size(10**9, 1) == 1
    assert isinstance(chunk_size(1000, 1), int)
