"""Weights in buckets: the same tensors come out, never many at once."""

import pytest
import torch

from rlreason.weights.buckets import pack, unpack


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "odd": torch.randn(3, generator=generator).bfloat16(),
        "a": torch.randn(7, 5, generator=generator),
        "scalar": torch.tensor(2.5),
        "transposed": torch.randn(4, 6, generator=generator).T,
        "b": torch.randn(11, generator=generator).bfloat16(),
    }


@pytest.mark.parametrize("bucket_bytes", [1, 100, 10**9])
def test_what_is_unpacked_is_what_was_packed(bucket_bytes: int) -> None:
    given = tensors()
    got = dict(unpack(pack(given.items(), bucket_bytes=bucket_bytes)))
    assert list(got) == list(given)
    for name, tensor in given.items():
        assert got[name].dtype == tensor.dtype
        assert torch.equal(got[name], tensor)


def test_no_bucket_is_larger_than_allowed_unless_one_tensor_is() -> None:
    for bucket in pack(tensors().items(), bucket_bytes=100):
        assert bucket.data.nbytes <= 100 or len(bucket.names) == 1


def test_a_bucket_is_out_before_the_next_tensor_is_asked_for() -> None:
    asked = []

    def source():
        for name in "abcd":
            asked.append(name)
            yield name, torch.zeros(10)

    buckets = pack(source(), bucket_bytes=80)
    assert next(buckets).names == ("a", "b")
    assert asked == ["a", "b", "c"]


def test_a_bucket_is_a_copy() -> None:
    weight = torch.zeros(4)
    [bucket] = pack([("w", weight)])
    weight.fill_(1.0)
    assert dict(unpack([bucket]))["w"].sum() == 0.0
