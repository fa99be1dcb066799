"""Writes what happened, exactly once per step, and hands it to whoever watches.

metrics.jsonl and evaluations.jsonl are the truth of the run folder; the display and the trackers
only follow. The lines after the resume point are dropped at the start, since those steps are
taken again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlreason import jsonl
from rlreason.alarms import Alarm, Alarms
from rlreason.machine import describe_machine
from rlreason.metrics import StepMetrics, from_json, to_json
from rlreason.pool_words import why_drawn
from rlreason.progress import Display
from rlreason.protocols import Sink
from rlreason.redact import visible
from rlreason.sinks import flat_metrics, flatten

METRICS_FILE = "metrics.jsonl"
EVALUATIONS_FILE = "evaluations.jsonl"
MACHINE_FILE = "machine.json"

_logger = logging.getLogger(__name__)


class Recorder:
    """The run's record. Call ``start`` before the first step."""

    def __init__(
        self, folder: Path, *, sinks: Sequence[Sink], display: Display, alarms: Alarms
    ) -> None:
        self.alarms = alarms
        self._folder = folder
        self._metrics_path = folder / METRICS_FILE
        self._evaluations_path = folder / EVALUATIONS_FILE
        self._sinks = tuple(sinks)
        self._display = display
        self._next_step = 0
        self._evaluated: set[int] = set()

    def start(self, resume_step: int) -> None:
        """Keep what happened before ``resume_step``, drop the rest, and restore the alarms.

        Raises:
            CheckpointError: If a line other than a torn last one is damaged.
            DataError: If the rows were written by another version of rlreason.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = jsonl.read_lines(self._metrics_path)
        kept = [line for line in lines if json.loads(line)["step"] < resume_step]
        for line in kept:
            self.alarms.check(from_json(line))
        jsonl.rewrite(self._metrics_path, kept)
        # Version v is what step v starts from, so its evaluation belongs to the steps before v.
        lines = jsonl.read_lines(self._evaluations_path)
        evaluations = [line for line in lines if json.loads(line)["version"] <= resume_step]
        self._evaluated = {json.loads(line)["version"] for line in evaluations}
        jsonl.rewrite(self._evaluations_path, evaluations)
        machine = json.dumps(describe_machine(), indent=1)
        jsonl.rewrite(self._folder / MACHINE_FILE, machine.splitlines())
        self._next_step = resume_step

    def step(self, metrics: StepMetrics) -> list[Alarm]:
        """Record a step; when this returns, its line is on the disk.

        Returns:
            The alarms that the step raised, already shown.
        """
        assert metrics.step == self._next_step, (
            f"step {metrics.step} is recorded where {self._next_step} is due"
        )
        self._next_step += 1
        jsonl.append(self._metrics_path, to_json(metrics))
        if self._sinks:
            self._log(metrics.step, flat_metrics(metrics))
        self._display.step(metrics)
        _logger.info(visible(why_drawn(metrics)))
        raised = self.alarms.check(metrics)
        for alarm in raised:
            self._display.message(f"alarm: {alarm.message}")
        return raised

    def has_evaluation(self, version: int) -> bool:
        """Whether ``version`` is already evaluated, by this attempt or an earlier one."""
        return version in self._evaluated

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """Record the evaluation of ``row["version"]``, once."""
        version = int(row["version"])
        assert version not in self._evaluated, f"version {version} is evaluated twice"
        jsonl.append(self._evaluations_path, json.dumps(row, allow_nan=False))
        self._evaluated.add(version)
        numbers = {name: row[name] for name in ("overall", "pools", "macro_greedy") if name in row}
        self._log(version, flatten(numbers, "evaluation/"))
        greedy = row["overall"]["greedy"]
        self._display.message(
            f"evaluation of version {version}: held-out accuracy {greedy['mean']:.3f} "
            f"[{greedy['low']:.3f}, {greedy['high']:.3f}]"
        )

    def close(self) -> None:
        """Close the display and the trackers."""
        self._display.close()
        for sink in self._sinks:
            sink.close()

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.log(step, values)
