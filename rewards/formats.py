r"""Whether a completion is written as it should be. Nothing of it is ever evaluated.

    strict_think   one ``<think>...</think>`` directly followed by one ``\boxed{...}``, nothing else
    boxed_math     the last box after the reasoning holds one well-formed answer (``math_grammar``)
    released       the accept and reject set of the released code of arXiv 2505.19439
                   (``released_format``), for comparison with its results

Every check is one pass over a text of limited length and depth, so it takes no time limit of its
own; what the released code would never finish is ``over_limit``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from rewards.boxes import last_boxed
from rewards.math_grammar import is_answer
from rewards.released_format import FormatVerdict, check_released

FormatMode = Literal["strict_think", "boxed_math", "released"]

_STRICT = re.compile(r"<think>((?:(?!</?think>).)*)</think>\\boxed\{([^{}]*)\}", re.DOTALL)


def is_strict_think(completion: str) -> bool:
    """Whether the completion is one think block, directly followed by one box, and nothing else."""
    return _STRICT.fullmatch(completion.rstrip()) is not None


def check_format(mode: FormatMode, completion: str) -> FormatVerdict:
    """``right``, ``wrong``, or ``over_limit`` where the released code would hang."""
    return _CHECKS[mode](completion)


def _strict_think(completion: str) -> FormatVerdict:
    return "right" if is_strict_think(completion) else "wrong"


def _boxed_math(completion: str) -> FormatVerdict:
    boxed = last_boxed(completion.rpartition("</think>")[2])
    return "right" if boxed is not None and is_answer(boxed) else "wrong"


_CHECKS: dict[FormatMode, Callable[[str], FormatVerdict]] = {
    "strict_think": _strict_think,
    "boxed_math": _boxed_math,
    "released": check_released,
}
