"""From a writer's section of the recipe to the writer, and what can be found wrong before it.

A composer, like ``build.py``: it alone knows both the adapters that load a local model's tokenizer
and the writers of ``critique``. Nothing here starts a model or makes a call.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlreason.config import WriterSection
from rlreason.critique.prompts import Template, render
from rlreason.critique.records import stable_hash
from rlreason.critique.replies import NamedWriter
from rlreason.data.prompts import PromptEncoder, eos_ids
from rlreason.errors import ConfigError, DataError, PluginError
from rlreason.models import resolve_model
from rlreason.models.weight_files import check_weight_files
from rlreason.plugins import build_plugin
from rlreason.protocols import Writer
from rlreason.types import Problem

_TEXT_FIELDS = {
    "model", "endpoint", "file", "use", "temperature", "max_tokens", "prompt", "dtype", "vllm",
    "body",
}  # fmt: skip
"""Settings that texts depend on. With other prices, patience or names the old texts hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """What is known of a local model before its weights are loaded."""

    path: Path | str
    encoder: PromptEncoder
    eos_ids: tuple[int, ...]
    position_limit: int | None
    dtype: Literal["float32", "bfloat16"]


def named_writer(section: WriterSection, *, threads: int, where: str) -> NamedWriter:
    """The writer that ``section`` describes, not started.

    Args:
        section: A generator or teacher of the recipe.
        threads: CPU threads of a local model; 0: one per core.
        where: The section's dotted path, for messages ("critiques.teachers.gpt").
    """

    @contextmanager
    def start() -> Iterator[Writer]:
        yield _open(section, threads, where)

    def reach() -> None:
        writer: Any = _open(section, threads, where)
        writer.reach()

    settings = section.model_dump(mode="json", include=_TEXT_FIELDS)
    return NamedWriter(
        name=section.name,
        identity=stable_hash(settings, _content_hash(section)),
        samples=section.samples,
        start=start,
        reach=reach if section.kind == "endpoint" else None,
    )


def check_generator(
    section: WriterSection,
    problems: Sequence[Problem],
    *,
    samples: int,
    template: Template,
    where: str,
) -> None:
    """Refuse a generator that cannot write ``samples`` solutions to each of ``problems``.

    Raises:
        ConfigError, DataError, PluginError: Saying which field, which value and what to do.
    """
    if section.kind == "file":
        writer: Any = _open(section, 0, where)
        writer.check_problems(problems, section.samples or samples)
        return
    _check(section, problems, where)
    if section.kind == "local":
        local = load_local(section, where=where)
        lengths = [_prompt_length(local, problem, template, where) for problem in problems]
        try:
            text_limit(section, local, max(lengths, default=0))
        except ConfigError as error:
            raise ConfigError(f"{where}.{error}") from None


def check_teacher(section: WriterSection, problems: Sequence[Problem], *, where: str) -> None:
    """Refuse a teacher that could judge no solution to ``problems``.

    Raises:
        ConfigError, DataError, PluginError: Saying which field, which value and what to do.
    """
    if section.kind == "file":
        raise ConfigError(f"{where}.file: a file holds solutions; a teacher needs another kind")
    _check(section, problems, where)


def load_local(section: WriterSection, *, where: str) -> LocalModel:
    """Tokenizer and limits of a local model; no weights are read.

    Raises:
        ConfigError: If there is no such model, or it cannot be prompted.
    """
    path = _model_path(section, where)
    if isinstance(path, Path):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched that nobody named
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(path)
        config: Any = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}.model = {section.model!r} does not load: {error}") from error
    try:
        generation = GenerationConfig.from_pretrained(path)
    except OSError:
        generation = None  # optional: the tokenizer's own end token is then the only one
    return LocalModel(
        path=path,
        encoder=_at(where, lambda: PromptEncoder(tokenizer, section.prompt)),
        eos_ids=eos_ids(tokenizer, generation),
        position_limit=getattr(config, "max_position_embeddings", None),
        dtype=_dtype(section, config),
    )


def prompt_tokens(local: LocalModel, problem: Problem) -> int | str:
    """Tokens of the prompt of ``problem``, or why the tokenizer makes none of it."""
    try:
        return len(local.encoder.encode(problem))
    except Exception as error:  # tokenizers raise no class of their own
        return f"the tokenizer cannot read the prompt: {error}"


def text_limit(section: WriterSection, local: LocalModel, longest: int) -> int:
    """Longest prompt and text together, in tokens.

    Raises:
        ConfigError: If the model takes fewer.
    """
    wanted = longest + section.max_tokens
    if local.position_limit is not None and wanted > local.position_limit:
        raise ConfigError(
            f"max_tokens = {section.max_tokens}: with the longest prompt of {longest} tokens that "
            f"is {wanted}, but {section.model} takes {local.position_limit}; lower it to "
            f"{local.position_limit - longest}, or shorten the template"
        )
    return wanted


def _open(section: WriterSection, threads: int, where: str) -> Writer:
    match section.kind:
        case "endpoint":
            from rlreason.critique.endpoint import EndpointWriter

            return EndpointWriter(section, where=where)
        case "file":
            from rlreason.critique.solution_file import SolutionFile

            path = Path(str(section.file)).expanduser()
            return SolutionFile(path, where=f"{where}.file")
        case "local":
            from rlreason.critique.local_process import LocalProcess

            return LocalProcess(section, threads=threads, where=where)
    assert section.use is not None, "checked by the section"
    writer: Writer = build_plugin(section.use.use, section.use.options, where=f"{where}.use")
    if not callable(getattr(writer, "write", None)):
        raise PluginError(f"{where}.use = {section.use.use!r}: no write method, as a writer has")
    return writer


def _check(section: WriterSection, problems: Sequence[Problem], where: str) -> None:
    if section.kind == "local":
        load_local(section, where=where)
        return
    writer: Any = _open(section, 0, where)
    if section.kind == "endpoint":
        writer.check()
        return
    if hasattr(writer, "check_problem"):
        _check_problems(writer, problems, where)


def _check_problems(writer: Any, problems: Sequence[Problem], where: str) -> None:
    for problem in problems:
        try:
            writer.check_problem(problem)
        except DataError as error:
            raise DataError(f"{where}: problem {problem.key}: {error}") from None


def _prompt_length(local: LocalModel, problem: Problem, template: Template, where: str) -> int:
    asked = Problem(id=problem.id, pool=problem.pool, prompt=render(template, problem))
    length = prompt_tokens(local, asked)
    if isinstance(length, str):
        raise DataError(f"{where}: problem {problem.key}: {length}")
    return length


def _model_path(section: WriterSection, where: str) -> Path | str:
    path = _at(where, lambda: resolve_model(str(section.model)))
    if isinstance(path, Path):
        check_weight_files(path, field=f"{where}.model", value=str(section.model))
    return path


def _at(where: str, make: Any) -> Any:
    """What ``make`` gives; its complaints, which speak of model.path, speak of this field."""
    try:
        return make()
    except ConfigError as error:
        raise ConfigError(str(error).replace("model.path", f"{where}.model", 1)) from error


def _dtype(section: WriterSection, config: Any) -> Literal["float32", "bfloat16"]:
    if section.dtype != "auto":
        return section.dtype
    saved = str(getattr(config, "dtype", None) or "").removeprefix("torch.")
    return "bfloat16" if saved in ("bfloat16", "float16") else "float32"


def _content_hash(section: WriterSection) -> str:
    """Of what a path names, so that another file under the same name is another writer."""
    if section.file is not None:
        return _file_hash(Path(section.file).expanduser())
    if section.use is not None:
        source = section.use.use.rpartition(":")[0]
        return _file_hash(Path(source)) if source.endswith(".py") else ""
    folder = Path(str(section.model)).expanduser()
    if section.endpoint is not None or not folder.is_dir():
        return ""
    files = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(folder.iterdir())]
    return stable_hash(files)


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
