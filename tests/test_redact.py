"""Secrets by name and by shape, and characters that must not act on a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.redact import HIDDEN, is_secret_name, redact, redact_text, visible

TOKENS = [
    "hf_" + "a1B2" * 8,
    "ghp_" + "a1B2" * 9,
    "sk-proj-" + "a1B2" * 8,
    "AKIA" + "ABCD1234" * 2,
    "0123456789abcdef0123456789abcdef01234567",
    "github_pat_" + "a1B2" * 8,
]


@pytest.mark.parametrize(
    "name", ["api_key", "apiKey", "HF_TOKEN", "hubToken", "db-password", "SECRET"]
)
def test_a_key_that_names_a_secret_is_recognised(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "tokens_per_microbatch", "max_completion_tokens", "monkey", "keyboard"],
)
def test_a_key_that_merely_resembles_one_is_not(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_are_hidden_at_any_depth_and_the_rest_is_kept() -> None:
    config = {
        "log": {"wandb": {"api_key": "abc", "project": "p", "tags": ["x", TOKENS[0]]}},
        "rollout": {"max_completion_tokens": 96, "vllm": {"hf_token": ["a", "b"]}},
        "password": 1234, "key": None,
    }  # fmt: skip
    assert redact(config) == {
        "log": {"wandb": {"api_key": HIDDEN, "project": "p", "tags": ["x", HIDDEN]}},
        "rollout": {"max_completion_tokens": 96, "vllm": {"hf_token": HIDDEN}},
        "password": HIDDEN, "key": None,
    }  # fmt: skip
    assert config["log"]["wandb"]["api_key"] == "abc"


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_in_a_text_is_hidden_by_its_shape(token: str) -> None:
    assert redact_text(f"401 for {token}, retry") == f"401 for {HIDDEN}, retry"


def test_addresses_and_headers_lose_their_credentials() -> None:
    assert redact_text("https://me:pass@host/x") == f"https://{HIDDEN}@host/x"
    assert redact_text("Authorization: Bearer abcdefgh.ijkl") == f"Authorization: Bearer {HIDDEN}"


def test_secrets_of_the_environment_are_hidden_whatever_their_shape(monkeypatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "correct horse battery")
    assert redact_text("bad: correct horse battery!") == f"bad: {HIDDEN}!"


def test_control_and_bidi_characters_are_spelled_out() -> None:
    assert visible("a\x1b[2J\u202eb\x9b\r\u2028\u200b\n") == (
        "a\\x1b[2J\\u202eb\\x9b\\r\\u2028\\u200b\n"
    )
    assert visible("é 中 🙂 a\tb", keep="\t") == "é 中 🙂 a\tb"
    assert visible("\ud800") == "\\ud800"


@given(st.text())
def test_nothing_that_is_visible_can_act(text: str) -> None:
    shown = visible(text, keep="")
    assert all(char.isprintable() or char.isspace() or ord(char) > 0xFF for char in shown)
    assert "\x1b" not in shown
    shown.encode()
