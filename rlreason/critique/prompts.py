r"""What generators, teachers and the policy read: plain text with two placeholders.

``{problem}`` and ``{solution}`` are replaced, once and literally; every other brace stays as it is,
so that ``\boxed{}`` needs no escape. Three templates are shipped, and each can be replaced by a
file or by text in the recipe:

    solve      {problem}              read by generators, and by the policy when it is tested
    critique   {problem}, {solution}  read by teachers
    train      {problem}, {solution}  read by the policy, which learns to write the critique
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rlreason.config_mistakes import nearest
from rlreason.errors import ConfigError
from rlreason.types import Problem

SHIPPED = ("solve", "critique", "train")
"""Names of the templates that come with rlreason."""

_HERE = Path(__file__).parent / "templates"
_PLACEHOLDERS = ("problem", "solution")
_KNOWN = re.compile(r"\{(problem|solution)\}")
# A word in braces of its own. Behind a letter it is the argument of a LaTeX command.
_ANY = re.compile(r"(?<![A-Za-z}])\{([A-Za-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A checked template."""

    text: str
    origin: str
    """A shipped name, a file, or ``recipe``; for messages and provenance."""


def load_template(value: str, *, needs: tuple[str, ...], where: str) -> Template:
    """The template that ``value`` names or is.

    Args:
        value: A shipped name, the path of a text file, or the template itself, which is what
            anything with ``{problem}`` in it is taken for.
        needs: Placeholders that it must hold; it may hold no other.
        where: The config field, for messages ("critiques.template").

    Raises:
        ConfigError: If there is no such template, or its placeholders are not those needed.
    """
    template = _find(value, where)
    held = set(_KNOWN.findall(template.text)) | set(_ANY.findall(template.text))
    for name in sorted(held - set(needs)):
        what = "has no value here" if name in _PLACEHOLDERS else "is no placeholder"
        raise ConfigError(
            f"{where} ({template.origin}): {{{name}}} {what}{nearest(name, sorted(needs))}"
        )
    missing = sorted(set(needs) - held)
    if missing:
        raise ConfigError(f"{where} ({template.origin}): must contain {{{missing[0]}}}")
    return template


def render(template: Template, problem: Problem, solution: str | None = None) -> str:
    """``template`` filled in. What a value itself holds is never replaced again."""
    values = {"problem": problem_text(problem), "solution": solution}

    def value_of(found: re.Match[str]) -> str:
        value = values[found[1]]
        if value is None:
            raise ValueError(f"template {template.origin}: no solution to fill in")
        return value

    return _KNOWN.sub(value_of, template.text)


def problem_text(problem: Problem) -> str:
    """The problem as text; of a list of messages, what the turns before the model's say."""
    if isinstance(problem.prompt, str):
        return problem.prompt
    return "\n\n".join(turn["content"] for turn in problem.prompt if turn["role"] != "assistant")


def _find(value: str, where: str) -> Template:
    if "{problem}" in value:
        return Template(value, "recipe")
    if value in SHIPPED:
        return Template(_read(_HERE / f"{value}.txt", where), value)
    path = Path(value).expanduser()
    if not value or not path.is_file():
        raise ConfigError(
            f"{where} = {value!r:.80}: no such file, no shipped template "
            f"({', '.join(SHIPPED)}), and no text with {{problem}} in it"
        )
    return Template(_read(path, where), value)


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {path} cannot be read as UTF-8 text: {error}") from None
