"""Reads the answer pairs that lie beside this file."""

from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

FOLDER = Path(__file__).parent
NO_FALSE_POSITIVES = ("extraction hacking", "adversarial resource use")


class Pair(NamedTuple):
    category: str
    gold: str
    completion: str
    is_right: bool


def read_pairs(name: str) -> list[Pair]:
    """Pairs of ``name``: [gold, completion, "right" or "wrong"] by category."""
    with (FOLDER / name).open(encoding="utf-8") as file:
        categories = YAML(typ="safe").load(file)
    return [
        Pair(category, gold, text_of(completion), {"right": True, "wrong": False}[label])
        for category, rows in categories.items()
        for gold, completion, label in rows
    ]


def text_of(completion: str | dict) -> str:
    """A completion as it is, or built from a part that repeats."""
    if isinstance(completion, str):
        return completion
    times = completion["times"]
    text = completion["before"] * times + completion["middle"] + completion["after"] * times
    return f"\\boxed{{{text}}}" if completion["boxed"] else text
