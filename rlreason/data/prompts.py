"""From a problem to token ids: the only place where a chat template is applied, and once.

A tokenizer that cannot work (no end token, no chat template, a doubled start token) is refused
when the encoder is made or at its first prompt, before any model is loaded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from rlreason.config import PromptSection
from rlreason.data.faults import BadRowError, FaultReport
from rlreason.errors import ConfigError
from rlreason.types import Message, Problem

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase


class PromptEncoder:
    """Encodes problems and decodes completions with one tokenizer and one prompt style.

    Raises:
        ConfigError: If the tokenizer has no end-of-sequence token, or no chat template although
            the prompt style needs one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, section: PromptSection) -> None:
        self.tokenizer = tokenizer
        self._section = section
        spelled = sorted(token for token in _control_tokens(tokenizer) if token.strip())
        self._control_token = re.compile("|".join(map(re.escape, spelled)) or "(?!)")
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                f"model.path: the tokenizer of {tokenizer.name_or_path!r} has no eos_token, so no "
                "completion would ever end; set eos_token in its tokenizer_config.json"
            )
        if section.style == "chat":
            self._need_template("prompt.style = 'chat'")
        chat = section.style == "chat"
        ends = _template_end_ids(tokenizer) if chat else []
        self._end_of_turn = ends[0] if ends else int(tokenizer.eos_token_id)

    def encode(self, problem: Problem) -> tuple[int, ...]:
        """Token ids of the prompt, up to where the model's turn begins.

        Raises:
            ConfigError: If the prompt is a list of messages and there is no chat template.
            BadRowError: If the chat template refuses the messages, or they bring a system turn
                although the recipe sets one.
        """
        if isinstance(problem.prompt, str):
            text = self._section.template.replace("{problem}", problem.prompt)
            if self._section.style == "text":
                with _refusals():
                    return tuple(self.tokenizer.encode(text))
            return self._encode_messages((Message(role="user", content=text),))
        self._need_template(f"problem {problem.key}: a prompt of messages")
        return self._encode_messages(problem.prompt)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of completion tokens, without special tokens and otherwise as sampled."""
        text: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def encode_turn(self, text: str) -> tuple[int, ...]:
        """Token ids of ``text`` as the model's own turn, with the token that ends it.

        What a policy that is taught ``text`` would sample: the prompt's tokens are not touched.

        Raises:
            BadRowError: If the text spells control tokens, or its tokens do not say the same.
        """
        control = self._control_token.search(text)
        if control is not None:
            raise BadRowError("control token", f"the text spells {control.group()!r}")
        with _refusals():
            ids = tuple(self.tokenizer.encode(text, add_special_tokens=False))
        if not ids or _letters(self.decode(ids)) != _letters(text):
            raise BadRowError("not in the vocabulary", f"{text!r:.60} does not survive encoding")
        return (*ids, self._end_of_turn)

    def check_tokenizer(self, problem: Problem) -> None:
        """Encode a first problem and refuse what would be wrong with every prompt.

        Raises:
            ConfigError: If the prompt starts with two start tokens or ends in an end token.
        """
        ids = self.encode(problem)
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        if bos is not None and ids[:2] == (bos, bos):
            raise ConfigError(
                f"problem {problem.key}: its prompt starts with {self.tokenizer.bos_token!r} "
                "twice; the tokenizer adds one itself: remove it from prompt.template, from the "
                "problems or from the chat template"
            )
        if ids and ids[-1] == eos:
            raise ConfigError(
                f"problem {problem.key}: its prompt ends in the end token "
                f"{self.tokenizer.eos_token!r}, after which a model has nothing to say; set "
                "add_eos_token to false in tokenizer_config.json, or correct the chat template"
            )

    def check_prompt(self, problem: Problem, max_tokens: int) -> None:
        """Encode a problem and check that the model gets to read what is in it.

        Raises:
            BadRowError: If the prompt is empty or too long, holds control tokens where a chat
                template writes them, or cannot be told from its tokens.
        """
        ids = self.encode(problem)
        content = problem.prompt if isinstance(problem.prompt, str) else _text(problem.prompt)
        raw = isinstance(problem.prompt, str) and self._section.style == "text"
        control = self._control_token.search(content)
        if control is not None and not raw:
            raise BadRowError(
                "control token",
                f"the prompt spells {control.group()!r}; the chat template adds such itself",
            )
        if not ids:
            raise BadRowError("empty prompt", "the tokenizer makes no token of it")
        if len(ids) > max_tokens:
            raise BadRowError("prompt too long", f"{len(ids)} tokens, at most {max_tokens}")
        if control is None:
            self._check_round_trip(ids, content)

    def _encode_messages(self, turns: tuple[Message, ...]) -> tuple[int, ...]:
        try:
            with _refusals():
                ids = self.tokenizer.apply_chat_template(
                    self._conversation(turns),
                    add_generation_prompt=True,
                    tokenize=True,
                    return_dict=False,
                )
        except TemplateError as error:
            raise BadRowError("chat template", f"it refuses the messages: {error}") from None
        return tuple(ids)

    def _conversation(self, turns: tuple[Message, ...]) -> list[Message]:
        opening = [turn for turn in turns[:1] if turn["role"] in ("system", "developer")]
        if self._section.system is not None:
            if opening:
                raise BadRowError(
                    "two system turns", "the messages bring one, and prompt.system is set"
                )
            opening = [Message(role="system", content=self._section.system)]
            rest = turns
        else:
            rest = turns[len(opening) :]
        shots = [
            Message(role=role, content=content)
            for shot in self._section.shots
            for role, content in zip(("user", "assistant"), shot, strict=True)
        ]
        return [*opening, *shots, *rest]

    def _need_template(self, what: str) -> None:
        if not self.tokenizer.chat_template:
            raise ConfigError(
                f"{what} needs a chat template, and the tokenizer of "
                f"{self.tokenizer.name_or_path!r} has none; take an instruction-tuned model, or "
                "set prompt.style = text and give prompts as text"
            )

    def _check_round_trip(self, ids: tuple[int, ...], content: str) -> None:
        decoded = _letters(self.decode(ids))
        for part in content.split("\n"):
            if _letters(part) not in decoded:
                raise BadRowError(
                    "not in the vocabulary", f"{part!r:.60} does not survive encoding"
                )


@contextmanager
def _refusals() -> Iterator[None]:
    """A tokenizer without an unknown token refuses what it does not know: that is a bad row."""
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:  # tokenizers raises nothing more specific
            raise
        raise BadRowError("not in the vocabulary", str(error)) from None


def check_prompts(
    encoder: PromptEncoder, problems: Sequence[Problem], max_tokens: int
) -> list[Problem]:
    """The problems whose prompts can be used; up to 1 % of bad ones are left out with a warning.

    Args:
        encoder: The run's encoder.
        problems: Problems of one pool.
        max_tokens: Longest prompt.

    Raises:
        ConfigError: If the tokenizer spoils every prompt.
        DataError: If more than 1 % of the problems are bad, naming the first ones.
    """
    if not problems:
        return []
    report = FaultReport(problems[0].pool)
    good: list[Problem] = []
    for problem in problems:
        try:
            if not good:
                encoder.check_tokenizer(problem)
            encoder.check_prompt(problem, max_tokens)
        except BadRowError as fault:
            report.add(f"problem {problem.key}", fault)
        else:
            good.append(problem)
    report.settle(len(problems))
    return good


def eos_ids(
    tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None
) -> tuple[int, ...]:
    """Every token that ends a turn, sorted.

    A chat model often ends its turn with another token than the tokenizer's eos_token; the
    generation config and the chat template know it. Missing one, no completion would ever stop.
    """
    found = {tokenizer.eos_token_id, *_as_ids(getattr(generation_config, "eos_token_id", None))}
    if tokenizer.chat_template:
        found.update(_template_end_ids(tokenizer))
    return tuple(sorted(found - {None}))


def _as_ids(value: int | Sequence[int] | None) -> list[int]:
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)


def _template_end_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The control token that the chat template writes behind an assistant's turn, if any."""
    marker = "assistant says"
    turns = [Message(role="user", content="user says"), Message(role="assistant", content=marker)]
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False)
    except TemplateError:
        return []  # a template for single questions only: it says nothing of how a turn ends
    tail = tokenizer.encode(text.rpartition(marker)[2], add_special_tokens=False)
    control = set(_control_tokens(tokenizer).values()) - {tokenizer.unk_token_id}
    return [token for token in tail if token in control][:1]


def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Text -> id of every token that decoding skips, the named ones (eos, pad) and others."""
    named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    added = tokenizer.added_tokens_decoder.items()
    return named | {token.content: index for index, token in added if token.special}


def _text(messages: tuple[Message, ...]) -> str:
    # Some templates cut the reasoning out of earlier assistant turns, and rightly so.
    return "\n".join(turn["content"] for turn in messages if turn["role"] != "assistant")


def _letters(text: str) -> str:
    """``text`` as far as tokenizers agree to keep it: compatibility forms, without white space."""
    return "".join(unicodedata.normalize("NFKC", text).split())
