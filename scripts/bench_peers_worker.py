"""Runs one task of scripts/bench_peers in this fresh process: a contender's segment, or accuracy.

Not meant to be started by hand: ``bench_peers_worker.py TASK REQUEST ANSWER``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_peers_segment import Segment, read_segment


def main() -> None:
    """Do the task and write its answer."""
    task, request, answer = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    answer.write_text(json.dumps(_answer(task, request)))


def _answer(task: str, request: Path) -> Mapping[str, Any]:
    if task == "accuracy":
        from bench_peers_accuracy import held_out_accuracy

        return held_out_accuracy(json.loads(request.read_text()))
    return asdict(_contender(task, read_segment(request)))


def _contender(name: str, segment: Segment) -> Any:
    if name == "trl":
        from bench_peers_trl import run_trl

        return run_trl(segment)
    from bench_peers_rlreason import run_rlreason

    return run_rlreason(segment)


if __name__ == "__main__":
    main()
