"""The tokenizer of tiny-arithmetic: one token per character, and nine that stand for more.

Text outside the vocabulary is an error, not an unknown token: a prompt that the model cannot read
should stop the run that holds it.
"""

from __future__ import annotations

import string

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

MAX_POSITIONS = 256
"""Prompt and completion together."""

SPECIAL = ("<pad>", "<bos>", "<eos>")
WORDS = ("<think>", "</think>", "\\boxed{", "add", "sum", "max", "rev")
CHARACTERS = "\n " + string.digits + string.ascii_letters + "+-*/=;:,.!?|(){}<>\\'\""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ bos_token + message['content'] + '\\n' }}{% endif %}"
    "{% endfor %}"
)
"""A user turn ends in a newline and an assistant turn in <eos>, so that add_generation_prompt has
nothing to add."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer; ``<pad>`` is token 0."""
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *WORDS, *CHARACTERS))}
    tokenizer = Tokenizer(WordLevel(vocabulary))
    # Longest first: a word is one token wherever it stands.
    pattern = "|".join((r"<think>", r"</think>", r"\\boxed\{", *WORDS[3:], r"[\s\S]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()  # without a decoder, tokens are joined by spaces
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        model_max_length=MAX_POSITIONS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
