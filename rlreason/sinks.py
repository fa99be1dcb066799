"""Trackers beside the run folder, which can neither stop nor slow a run.

``WandbSink`` and ``TrackioSink`` talk to their tracker and may block or raise. ``BackgroundSink``
runs one of them in a daemon thread behind a bounded queue, its opening included, so the run never
waits for a network: a full queue drops rows and counts them, a fault is logged once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rlreason.config import LogSection
from rlreason.errors import ConfigError
from rlreason.metrics import StepMetrics
from rlreason.protocols import Sink
from rlreason.redact import redact, redact_text

QUEUED_ROWS = 1000
CLOSE_S = 10.0
"""How long the end of a run waits for a tracker to take what is queued."""

OPEN_S = 30.0
"""How long wandb tries to reach its server; the run does not wait for it."""

_log = logging.getLogger(__name__)
_CLOSE = None
"""Queued last: the thread finishes the tracker and ends."""


def open_sinks(log: LogSection, run_name: str, config: Mapping[str, Any]) -> list[Sink]:
    """Start the trackers that ``log`` asks for; nothing here waits for them.

    Args:
        log: The recipe's ``log`` section.
        run_name: Shown by the tracker unless ``log`` gives another name.
        config: The resolved configuration; secrets are hidden before it is handed on.

    Raises:
        ConfigError: If a tracker's package is not installed.
    """
    wanted: list[tuple[str, dict[str, Any] | None, Callable[[Mapping[str, Any]], Sink]]] = [
        ("wandb", log.wandb, WandbSink),
        ("trackio", log.trackio, TrackioSink),
    ]
    for name, options, _ in wanted:
        if options is not None and importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"log.{name}: the package {name!r} is not installed; "
                f"pip install 'rlreason[{name}]', or set log.{name} to null"
            )
    hidden = redact(dict(config))
    return [
        BackgroundSink(name, _opener(sink, options, run_name, hidden))
        for name, options, sink in wanted
        if options is not None
    ]


def _opener(
    sink: Callable[[Mapping[str, Any]], Sink],
    options: Mapping[str, Any],
    run_name: str,
    config: Mapping[str, Any],
) -> Callable[[], Sink]:
    merged = {"project": "rlreason", "name": run_name, "config": config} | dict(options)
    return lambda: sink(merged)


class WandbSink:
    """Logs to Weights & Biases. ``options`` go to ``wandb.init``; ``mode: offline`` works."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        import wandb  # here: it takes seconds, and only for who asks for it

        # console: wandb would else wrap stdout, under the live display.
        # Timeouts: wandb waits for its own threads when the process ends, even for a failed start.
        quiet = {"console": "off", "silent": True} | {
            "login_timeout": CLOSE_S,
            "init_timeout": OPEN_S,
            "finish_timeout": CLOSE_S,
        }
        settings = wandb.Settings(**quiet | dict(options.get("settings") or {}))
        # Set up first, or a missing key makes wandb ask for one on the run's own terminal.
        wandb.setup(settings)
        self._run = wandb.init(**{**options, "settings": settings})

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers of one step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Flush and leave."""
        self._run.finish()


class TrackioSink:
    """Logs to trackio's local database. ``options`` go to ``trackio.init``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        import trackio  # here: it takes seconds, and only for who asks for it

        quiet = {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
        self._run = trackio.init(**{**quiet, **options})

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record numbers of one step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Flush and leave."""
        self._run.finish()


class BackgroundSink:
    """Keeps a sink's waiting and faults away from the run."""

    def __init__(
        self,
        name: str,
        open_sink: Callable[[], Sink],
        *,
        queued_rows: int = QUEUED_ROWS,
        close_s: float = CLOSE_S,
    ) -> None:
        self._name = name
        # One counter per thread: += is not atomic.
        self._dropped = 0
        self._failed = 0
        self._complained = False
        self._close_s = close_s
        self._queue: queue.Queue[tuple[int, Mapping[str, float]] | None] = queue.Queue(queued_rows)
        self._thread = threading.Thread(
            target=self._drain, args=(open_sink,), name=f"sink-{name}", daemon=True
        )
        self._thread.start()

    @property
    def missed(self) -> int:
        """Rows that did not reach the tracker."""
        return self._dropped + self._failed

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Queue the numbers of one step, or drop them when the queue is full."""
        try:
            self._queue.put_nowait((step, values))
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Give the tracker a few seconds to take what is queued, then leave it behind."""
        deadline = time.monotonic() + self._close_s
        with contextlib.suppress(queue.Full):
            self._queue.put(_CLOSE, timeout=self._close_s)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            _log.warning("%s did not finish within %g s; left behind", self._name, self._close_s)
        if self.missed:
            _log.warning("%s missed %d rows; metrics.jsonl has them", self._name, self.missed)

    def _drain(self, open_sink: Callable[[], Sink]) -> None:
        """The thread: open, log until told to close, close."""
        sink: Sink | None = None
        with self._contained():
            sink = open_sink()
        while (row := self._queue.get()) is not _CLOSE:
            self._failed += 1
            if sink is None:
                continue
            with self._contained():
                sink.log(*row)
                self._failed -= 1
        if sink is not None:
            with self._contained():
                sink.close()

    @contextlib.contextmanager
    def _contained(self) -> Iterator[None]:
        """A tracker's fault ends here, whatever it is: it must never become the run's.

        Ctrl-C reaches the main thread only; a KeyboardInterrupt here is the tracker's own.
        """
        try:
            yield
        except BaseException as error:
            if not self._complained:
                text = redact_text(f"{type(error).__name__}: {error}")
                _log.warning("%s fails, the run goes on without it: %s", self._name, text)
            self._complained = True


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested numbers as ``part/of/part`` -> float; all else is left out.

    Booleans count 0 or 1. None and non-finite numbers are gaps in a tracker's curve.
    """
    flat: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        elif isinstance(value, bool | int | float) and math.isfinite(value):
            flat[prefix + key] = float(value)
    return flat


def flat_metrics(metrics: StepMetrics) -> dict[str, float]:
    """The numbers of a step under the keys that trackers show, such as ``pools/add3/weight``."""
    return flatten(asdict(metrics))
