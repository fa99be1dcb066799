r"""Finds the answer that a completion commits to: its last ``\boxed{...}``."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\\boxed\s*(\{)|\\.|[{}]", re.DOTALL)


def last_boxed(text: str) -> str | None:
    r"""Content of the last ``\boxed{...}`` with braces matched, or None.

    Of nested boxes the outermost closed one counts. A last box that never closes hides those
    before it: the completion was cut while it changed its answer. One pass, whatever the text.
    """
    answer: tuple[int, str] | None = None
    opened: list[tuple[bool, int]] = []
    for token in _TOKEN.finditer(text):
        if token[0] == "{" or token[1]:
            opened.append((token[0] != "{", token.end()))
        elif token[0] == "}" and opened:
            is_box, start = opened.pop()
            answer = (start, text[start : token.start()]) if is_box else answer
    if answer is None or any(is_box and start > answer[0] for is_box, start in opened):
        return None
    return answer[1]
