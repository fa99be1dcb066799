"""Parameters counted from a configuration alone."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import LlamaConfig, Qwen2Config

from rlreason.errors import ConfigError
from rlreason.memory.shape import model_shape, shape_of
from rlreason.models import resolve_model

LLAMA_8B = LlamaConfig(
    vocab_size=128256, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=8, intermediate_size=14336, tie_word_embeddings=False,
)  # fmt: skip
QWEN_7B = Qwen2Config(
    vocab_size=152064, hidden_size=3584, num_hidden_layers=28, num_attention_heads=28,
    num_key_value_heads=4, intermediate_size=18944, tie_word_embeddings=False,
)  # fmt: skip
QWEN_HALF_B = Qwen2Config(
    vocab_size=151936, hidden_size=896, num_hidden_layers=24, num_attention_heads=14,
    num_key_value_heads=2, intermediate_size=4864, tie_word_embeddings=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("config", "published"),
    [(LLAMA_8B, 8_030_261_248), (QWEN_7B, 7_615_616_512), (QWEN_HALF_B, 494_032_768)],
)
def test_parameters_are_those_that_the_makers_publish(
    config: LlamaConfig | Qwen2Config, published: int
) -> None:
    assert shape_of(config).parameters == published


def test_the_shipped_model_has_as_many_as_its_file() -> None:
    folder = resolve_model("tiny-arithmetic")
    assert isinstance(folder, Path)
    stored = sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())
    assert model_shape(folder).parameters == stored


def test_widths_are_per_token() -> None:
    shape = shape_of(QWEN_7B)
    assert (shape.layers, shape.width, shape.inner_width) == (28, 3584, 18944)
    assert (shape.attention_width, shape.key_width) == (28 * 128, 4 * 128)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration of a language model"):
        model_shape(tmp_path)
