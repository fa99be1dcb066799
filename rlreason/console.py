"""What a run's terminal shows: its display and rlreason's warnings. Libraries go to the log."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rlreason.redact import redact_text

LIBRARIES = ("vllm", "DeepSpeed", "transformers")
"""Loggers that speak to the run's log file alone."""


class Voice(Protocol):
    """Whatever can say something that stays in view: every display."""

    def message(self, text: str) -> None:
        """Say it."""
        ...


class DisplayHandler(logging.Handler):
    """Shows records through the display, so that a live table is not torn apart."""

    def __init__(self, display: Voice) -> None:
        super().__init__(level=logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        self._display.message(redact_text(f"{record.levelname.lower()}: {record.getMessage()}"))


@contextmanager
def run_console(display: Voice) -> Iterator[None]:
    """Route warnings of rlreason to ``display`` and keep libraries off the terminal."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in LIBRARIES:
        logging.getLogger(name).propagate = False
    package = logging.getLogger("rlreason")
    handler = DisplayHandler(display)
    package.addHandler(handler)
    package.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        package.propagate = True
        package.removeHandler(handler)
