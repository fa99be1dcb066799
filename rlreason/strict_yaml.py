"""YAML 1.2 read strictly: values with the line each came from, and nothing that can surprise.

``1e-6`` is a number, ``no`` and ``12:30`` are text. Tags, duplicate keys and keys that are not text
are mistakes, all reported at once; aliases may not grow the file beyond ``MAX_NODES`` values.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode

Path = tuple[str | int, ...]
"""Where a value is: ``("pools", 0, "name")``."""

MAX_CHARACTERS = 256 * 1024
MAX_NODES = 20_000
"""Values after aliases are followed. A recipe has a few hundred; a nest of aliases has billions."""
MAX_DEPTH = 40

_PREFIX = "tag:yaml.org,2002:"
_TYPED = {_PREFIX + name for name in ("int", "float", "bool", "null")}
_UNSAFE_TEXT = frozenset("\x85\u2028\u2029\ufeff")


class StrictYamlError(ValueError):
    """Text that is no YAML, or more of it than a recipe can be. Holds the line, or 0."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(kw_only=True)
class Document:
    """What a text says, where it says it, and what is wrong with how it says it."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    """Line of every key and list item, counted from 1."""
    mistakes: list[tuple[int, str]] = field(default_factory=list)
    """(line, what is wrong): tags, duplicate keys, keys that are not text."""


def read(text: str) -> Document:
    """Parse one YAML document.

    Raises:
        StrictYamlError: If the text is no YAML or breaks a limit; lesser mistakes are returned.
    """
    if len(text) > MAX_CHARACTERS:
        raise StrictYamlError(0, f"longer than {MAX_CHARACTERS} characters")
    document = Document()
    try:
        _check_events(text, document)
        node = _parser().compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "not YAML"
        raise StrictYamlError(mark.line + 1 if mark else 0, f"not YAML: {reason}") from None
    except YAMLError as error:
        raise StrictYamlError(0, f"not YAML: {' '.join(str(error).split())}") from None
    if node is not None:
        document.data = _Reader(document).value(node, ())
    return document


def write(data: Any) -> str:
    """``data`` as YAML that ``read`` turns back into the same values."""
    yaml: Any = _parser()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 100
    yaml.allow_unicode = not any(_UNSAFE_TEXT & set(text) for text in _texts(data))
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def _parser() -> YAML:
    return YAML(typ="safe", pure=True)  # the C parser reads YAML 1.1


def _check_events(text: str, document: Document) -> None:
    """Tags and nesting, before anything recursive touches the text."""
    depth = 0
    for event in _parser().parse(text):
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise StrictYamlError(line, f"nested deeper than {MAX_DEPTH} levels")
        if getattr(event, "tag", None) is not None:
            document.mistakes.append((line, f"tag {event.tag}: tags are not read; remove it"))


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for pair in data.items():
            yield from _texts(pair)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from _texts(item)


class _Reader:
    """Turns nodes into values and notes their lines."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._construct = SafeConstructor(loader=_parser())
        self._num_nodes = 0

    def value(self, node: Any, path: Path) -> Any:
        self._num_nodes += 1
        line = node.start_mark.line + 1
        if self._num_nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise StrictYamlError(
                line,
                f"more than {MAX_NODES} values or {MAX_DEPTH} levels once aliases are followed",
            )
        self._document.lines.setdefault(path, line)
        if isinstance(node, ScalarNode):
            return self._scalar(node, line)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _scalar(self, node: ScalarNode, line: int) -> Any:
        if node.tag not in _TYPED:  # dates stay text, as they are written
            return node.value
        try:
            return self._construct.construct_object(node)
        except ValueError as error:
            self._document.mistakes.append((line, f"{node.value[:40]}: {error}"))
            return None

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, ScalarNode) or key_node.tag in _TYPED:
                shown = key if isinstance(key, str) else "a list or mapping"
                self._document.mistakes.append((line, f"key {shown}: a key is text; quote it"))
                continue
            if key in result:
                first = self._document.lines[(*path, key)]
                self._document.mistakes.append(
                    (
                        line,
                        f"{'.'.join(map(str, (*path, key)))}: written twice, first on line {first}",
                    )
                )
                continue
            self._document.lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return result
