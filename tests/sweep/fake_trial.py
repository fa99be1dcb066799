"""A trial that trains nothing: takes a resolved config, leaves a run folder like a real one.

    python fake_trial.py CONFIG [GATES]

Continues at the step after the last recorded one. Under the folder GATES it notes each start as
``NAME.starts`` (its host process and first step), raises where a file ``NAME.raise`` is, and before
step 2 waits for as long as a file ``NAME.hold`` is there.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rlreason.config_file import load_config, resolved_yaml
from rlreason.jsonl import append, read_lines

PROBLEMS = 8
EFFECT = {"curricula.uniform:Uniform": 0.0, "curricula.dump:Dump": 0.3}


def main(config_file: str, gates: str) -> None:
    config = load_config(config_file)
    name = config.run.name
    folder = Path(config.run.folder) / name
    (folder / "evaluations").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(resolved_yaml(config))
    first = len(read_lines(folder / "metrics.jsonl"))
    gate = Path(gates)
    with (gate / f"{name}.starts").open("a") as starts:
        starts.write(f"{os.getppid()} {os.getpid()} {first}\n")
    if (gate / f"{name}.raise").exists():
        raise RuntimeError("the loss is a banana")
    effect = EFFECT[config.curriculum.use]
    if first == 0:
        evaluate(config, folder, 0, effect)
    for step in range(first, config.run.steps):
        while step == 2 and (gate / f"{name}.hold").exists():
            time.sleep(0.02)
        append(folder / "metrics.jsonl", json.dumps({"step": step, "rollout_tokens": 100}))
        evaluate(config, folder, step + 1, effect)


def evaluate(config, folder: Path, version: int, effect: float) -> None:
    """Accuracy that depends on config, version, pool and problem alone."""
    rows = [
        row(config.run.seed, pool.name, number, version, effect)
        for pool in config.pools
        for number in range(PROBLEMS)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "evaluations" / f"{version:06d}.parquet")
    written = [json.loads(line)["version"] for line in read_lines(folder / "evaluations.jsonl")]
    if version not in written:
        append(folder / "evaluations.jsonl", json.dumps({"version": version}))


def row(seed: int, pool: str, number: int, version: int, effect: float) -> dict:
    chance = random.Random(f"{seed} {pool} {number} {version}").random()
    return {
        "pool": pool,
        "problem_id": f"p{number}",
        "greedy_correct": chance < 0.1 + 0.1 * version + effect,
        "num_samples": 0,
        "num_correct": 0,
    }


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
