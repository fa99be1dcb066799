"""The prompt encoder on a small character tokenizer: one template, once, and loud preflight."""

import logging
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import GenerationConfig, PreTrainedTokenizerFast

from rlreason.config import PromptSection
from rlreason.data.prompts import PromptEncoder, check_prompts, eos_ids
from rlreason.errors import ConfigError, DataError
from rlreason.types import Message, Problem

CONTROL = ["<pad>", "<s>", "</s>", "<unk>", "<|end|>"]
CHARS = "abcdefghijklmnopqrstuvwxyzABQ 0123456789+-=?:.\n"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def make_tokenizer(
    *,
    template: str | None = TEMPLATE,
    single: str = "<s> $A",
    eos: str | None = "</s>",
    normalizer: normalizers.Normalizer | None = None,
) -> PreTrainedTokenizerFast:
    """One token per character; ``single`` is what the tokenizer puts around plain text."""
    tokens = [*CONTROL, *sorted(CHARS)]
    vocab = {token: index for index, token in enumerate(tokens)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    backend.decoder = decoders.Fuse()
    if normalizer is not None:
        backend.normalizer = normalizer
    special = [(token, vocab[token]) for token in CONTROL]
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token=eos,
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<|end|>"],
    )
    tokenizer.chat_template = template
    return tokenizer


def encoder(tokenizer: Any = None, **section: Any) -> PromptEncoder:
    return PromptEncoder(tokenizer or make_tokenizer(), PromptSection(**section))


def problem(prompt: Any, name: str = "1") -> Problem:
    return Problem(id=name, pool="sums", prompt=prompt, answer="4")


def spelled(made: PromptEncoder, prompt: Any) -> str:
    """The tokens of a prompt, control tokens included, as text."""
    text: str = made.tokenizer.decode(list(made.encode(problem(prompt))))
    return text


def turns(*pairs: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role=role, content=content) for role, content in pairs)


def test_a_text_prompt_becomes_a_user_turn_in_front_of_the_models_turn() -> None:
    ids = encoder().encode(problem("2+2"))
    assert isinstance(ids, tuple)
    assert all(isinstance(token, int) for token in ids)
    assert spelled(encoder(), "2+2") == "<s>user: 2+2<|end|>assistant: "


def test_template_system_and_shots_go_where_the_recipe_says() -> None:
    made = encoder(system="be brief", shots=[("1+1", "2")], template="Q: {problem} A?")
    assert spelled(made, "2+2") == (
        "<s>system: be brief<|end|>user: 1+1<|end|>assistant: 2<|end|>"
        "user: Q: 2+2 A?<|end|>assistant: "
    )


def test_braces_in_a_problem_are_not_read_as_a_template() -> None:
    # The character tokenizer has no braces, so look at the text before encoding.
    seen: list[str] = []

    class Recording(PreTrainedTokenizerFast):  # type: ignore[misc]
        def encode(self, text: str, **options: Any) -> list[int]:
            seen.append(text)
            return [1]

    plain = make_tokenizer()
    recording = Recording(tokenizer_object=plain.backend_tokenizer, eos_token="</s>")
    encoder(recording, style="text", template="Q {problem}: {x}").encode(problem("{y} {problem}"))
    assert seen == ["Q {y} {problem}: {x}"]


def test_text_style_sends_the_text_as_the_tokenizer_encodes_it() -> None:
    made = encoder(make_tokenizer(template=None), style="text", template="{problem}=")
    assert spelled(made, "2+2") == "<s>2+2="


def test_messages_keep_their_turns_and_take_shots_behind_their_system_turn() -> None:
    made = encoder(shots=[("1+1", "2")], template="never {problem}")
    prompt = turns(("system", "be kind"), ("user", "2+2"))
    assert spelled(made, prompt) == (
        "<s>system: be kind<|end|>user: 1+1<|end|>assistant: 2<|end|>user: 2+2<|end|>assistant: "
    )


def test_messages_go_through_the_template_in_text_style_too() -> None:
    made = encoder(style="text")
    assert spelled(made, turns(("user", "2+2"))) == "<s>user: 2+2<|end|>assistant: "


def test_decoding_leaves_out_control_tokens_and_changes_nothing_else() -> None:
    made = encoder()
    # Without this, transformers would not clean up a BPE model's text even when asked to.
    made.tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
    ids = made.tokenizer.encode("a . b ?  1\n<|end|></s>", add_special_tokens=False)
    assert made.decode(ids) == "a . b ?  1\n"


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    with pytest.raises(ConfigError, match="no eos_token, so no completion would ever end"):
        encoder(make_tokenizer(eos=None))


def test_a_missing_chat_template_is_refused_with_both_remedies() -> None:
    plain = make_tokenizer(template=None)
    with pytest.raises(ConfigError, match=r"instruction-tuned model, or set prompt.style = text"):
        encoder(plain)
    made = encoder(plain, style="text")
    with pytest.raises(ConfigError, match=r"problem sums/1: a prompt of messages needs a chat"):
        check_prompts(made, [problem(turns(("user", "2+2")))], 100)


def test_a_doubled_start_token_is_refused() -> None:
    made = encoder(style="text", template="<s>{problem}")
    with pytest.raises(ConfigError, match=r"problem sums/1: .* starts with '<s>' twice"):
        check_prompts(made, [problem("2+2")], 100)
    twice = make_tokenizer(template="<s>" + TEMPLATE)
    with pytest.raises(ConfigError, match="twice"):
        check_prompts(encoder(twice), [problem("2+2")], 100)


def test_a_prompt_that_ends_in_the_end_token_is_refused() -> None:
    made = encoder(make_tokenizer(single="<s> $A </s>"), style="text")
    with pytest.raises(ConfigError, match=r"ends in the end token '</s>'.*add_eos_token"):
        check_prompts(made, [problem("2+2")], 100)


def test_good_prompts_pass_unchanged() -> None:
    problems = [problem(f"{i}+2", str(i)) for i in range(5)]
    problems.append(problem(turns(("system", "sum"), ("user", "1\n2")), "m"))
    assert check_prompts(encoder(), problems, 100) == problems
    assert check_prompts(encoder(), [], 100) == []


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("2" * 82, "prompt too long: 101 tokens, at most 100"),
        ("what is 2\u00d73", "not in the vocabulary: 'what is 2\u00d73'"),
        ("fine\n2\u00d73", "not in the vocabulary: '2\u00d73'"),
        ("user: 2+2<|end|>assistant: 4", "control token: the prompt spells '<|end|>'"),
        (turns(("user", "2</s>")), "control token: the prompt spells '</s>'"),
        (turns(("system", "a"), ("user", "2+2")), "two system turns"),
    ],
)
def test_a_prompt_that_the_model_cannot_read_as_written_is_left_out_by_its_key(
    prompt: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = [problem(f"{i}+2", str(i)) for i in range(99)]
    made = encoder(system="x") if words.startswith("two") else encoder()
    with caplog.at_level(logging.WARNING):
        assert check_prompts(made, [*good, problem(prompt, "odd")], 100) == good
    assert f"problem sums/odd: {words}" in caplog.text


def test_a_prompt_of_exactly_the_longest_length_passes() -> None:
    exact = [problem("2" * 81)]
    assert check_prompts(encoder(), exact, 100) == exact


def test_a_tokenizer_that_loses_letters_stops_the_run() -> None:
    made = encoder(make_tokenizer(normalizer=normalizers.Lowercase()))
    with pytest.raises(DataError, match=r"2 x not in the vocabulary\n.*sums/1: .*'A\+B'"):
        check_prompts(made, [problem("A+B"), problem("B+A", "2")], 100)


def test_compatibility_forms_that_a_tokenizer_unifies_are_no_loss() -> None:
    made = encoder(make_tokenizer(normalizer=normalizers.NFKC()))
    wide = [problem("\uff12+2")]  # a full-width 2
    assert check_prompts(made, wide, 100) == wide


def test_a_template_may_cut_earlier_turns_of_the_assistant() -> None:
    cut = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    prompt = turns(("user", "1+1"), ("assistant", "let me think"), ("user", "2+2"))
    assert check_prompts(encoder(make_tokenizer(template=cut)), [problem(prompt)], 100)


def test_control_tokens_without_a_name_are_known_too() -> None:
    # As in Llama 3: its end of turn is special, but in no attribute of the tokenizer.
    template = "{% for m in messages %}{{ m.content }}<|eot|>{% endfor %}"
    tokenizer = make_tokenizer(template=template)
    tokenizer.backend_tokenizer.add_special_tokens([AddedToken("<|eot|>", special=True)])
    eot = tokenizer.convert_tokens_to_ids("<|eot|>")
    assert "<|eot|>" not in tokenizer.all_special_tokens
    assert eos_ids(tokenizer, None) == (2, eot)
    with pytest.raises(DataError, match=r"the prompt spells '<\|eot\|>'"):
        check_prompts(encoder(tokenizer), [problem("2+2<|eot|>")], 100)


def test_text_style_may_bring_control_tokens_of_its_own() -> None:
    made = encoder(style="text")
    written = [problem("user: 2+2<|end|>assistant: ")]
    assert check_prompts(made, written, 100) == written


def test_a_template_that_refuses_the_messages_names_the_problem() -> None:
    strict = make_tokenizer(template="{{ raise_exception('no system turn') }}")
    with pytest.raises(DataError, match=r"problem sums/1: chat template: .*no system turn"):
        check_prompts(encoder(strict), [problem("2+2")], 100)


def test_every_token_that_ends_a_turn_is_found() -> None:
    with_template, without = make_tokenizer(), make_tokenizer(template=None)
    assert eos_ids(without, None) == (2,)
    assert eos_ids(with_template, None) == (2, 4)  # the template ends a turn with <|end|>
    assert eos_ids(without, GenerationConfig(eos_token_id=[0, 2])) == (0, 2)
    assert eos_ids(without, GenerationConfig(eos_token_id=1)) == (1, 2)
    assert eos_ids(without, GenerationConfig()) == (2,)


def test_a_template_that_writes_no_assistant_turn_adds_no_end_token() -> None:
    strict = make_tokenizer(template="{{ raise_exception('questions only') }}")
    assert eos_ids(strict, None) == (2,)
    bare = make_tokenizer(template="{% for m in messages %}{{ m.content }}\u00d7\n{% endfor %}")
    assert eos_ids(bare, None) == (2,)  # an unknown letter behind the turn ends nothing
