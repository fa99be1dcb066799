"""rlreason's side of scripts/bench_peers: the shipped loop as it is, with a clock at its end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from bench_peers_segment import Segment, SegmentResult, Stamps, since_process_start

from rlreason.build import open_run
from rlreason.protocols import WeightPublisher
from rlreason.trainer import train


class StampedPublisher:
    """Publication is the last thing that a step does for the next: mark its end."""

    def __init__(self, publisher: WeightPublisher, stamps: Stamps) -> None:
        self._publisher, self._stamps = publisher, stamps

    def publish(self, version: int) -> None:
        """Publish, then mark."""
        self._publisher.publish(version)
        self._stamps.mark()


def run_rlreason(segment: Segment) -> SegmentResult:
    """Train as ``rlreason train`` does, journal, scoring process and checkpoint included."""
    config = segment.config()
    stamps = Stamps(segment.warmup, config.run.steps)
    with open_run(config, fresh=True) as run:
        started = since_process_start()
        train(replace(run, publisher=StampedPublisher(run.publisher, stamps)))
    folder = Path(config.run.folder) / config.run.name
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines][segment.warmup :]
    return SegmentResult(
        step_s=stamps.step_s,
        cpu_s=stamps.cpu_s,
        completion_tokens=fmean(row["completion_tokens_mean"] for row in rows),
        reward=fmean(row["reward_mean"] for row in rows[-10:]),
        start_s=started,
        policy=str(folder / "checkpoints" / f"{config.run.steps:06d}" / "policy"),
        phase_s=_mean_phases(rows),
    )


def _mean_phases(rows: list[dict[str, Any]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row["phase_s"])
    return {name: fmean(row["phase_s"].get(name, 0.0) for row in rows) for name in names}
