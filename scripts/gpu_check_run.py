"""One run of scripts/gpu_check in a process of its own: train a few steps, and measure.

Started by scripts/gpu_check as ``gpu_check_run.py JOB.json``; writes ``result.json`` beside it.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

SMALL = {
    "rollout.problems_per_step": 4,
    "rollout.group_size": 4,
    "rollout.max_completion_tokens": 48,
    "learner.tokens_per_microbatch": 1024,
    "run.steps": 3,
    "cluster.threads": 1,
    "model.dtype": "float32",
}
"""Overrides on a CPU."""
LARGE = {
    "rollout.problems_per_step": 32,
    "rollout.group_size": 8,
    "rollout.max_completion_tokens": 512,
    "learner.tokens_per_microbatch": 16384,
    "run.steps": 4,
    "model.dtype": "bfloat16",
}
"""Overrides on a GPU."""
RAY = {"cluster.backend": "ray", "cluster.layout": "colocated"}
"""Overrides of the runs that are named after ``cluster.weight_sync``."""
SHAPE = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 4096,
}
"""The model of a GPU check: a Llama of some 0.36 billion parameters."""
POLL_S = 0.01


class Watch:
    """The most memory that was in use on the GPU, whoever used it; sampled."""

    def __init__(self) -> None:
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._done.wait(POLL_S):
            self.peak = max(self.peak, used_bytes())


def used_bytes() -> int:
    """Bytes in use on the GPU; 0 without one."""
    import torch

    if not torch.cuda.is_available():
        return 0
    free, total = torch.cuda.mem_get_info()
    return int(total - free)


def write_model(folder: Path, *, cpu: bool) -> Path:
    """The shipped model, or one of its kind with random weights that fills a GPU somewhat."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from rlreason.models import resolve_model

    shutil.copytree(resolve_model("tiny-arithmetic"), folder)
    if not cpu:
        config: Any = AutoConfig.from_pretrained(folder)
        config.update(SHAPE)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        model.save_pretrained(folder)
    return folder


def run_overrides(job: dict[str, Any], model: Path) -> list[str]:
    """What the check changes in its recipe."""
    values = (SMALL if job["cpu"] else LARGE) | {
        "model.path": str(model),
        "run.folder": str(Path(job["folder"]) / "runs"),
        "run.name": job["mode"],
    }
    if job["mode"] in ("shared_memory", "cuda_ipc"):
        values |= RAY | {"cluster.weight_sync": job["mode"]}
    if job["mode"] == "bfloat16":
        values |= {"model.dtype": "bfloat16"}
    if job["steps"]:
        values["run.steps"] = job["steps"]
    return [f"{key}={value}" for key, value in values.items()]


def gib_that_needs_turns(config: Any, job: Any) -> float | None:
    """The largest memory, in steps of half a GiB, at which engine and learner must take turns."""
    from rlreason.memory.plan import GIB, plan_memory

    for halves in range(2 * job.gpu_bytes // GIB, 2, -1):
        plan = plan_memory(config, job._replace(gpu_bytes=halves * GIB // 2))
        if plan.engine.sleeps:
            return None if plan.overfull else halves / 2
    return None


def main() -> None:
    """Run the job of the file named on the command line."""
    path = Path(sys.argv[1])
    job = json.loads(path.read_text())
    from rlreason.config_file import load_config
    from rlreason.preflight import preflight

    folder = Path(job["folder"])
    recipe = str(Path(__file__).with_suffix("").parent / "gpu_check.yaml")
    overrides = run_overrides(job, write_model(folder / f"model_{job['mode']}", cpu=job["cpu"]))
    config = load_config(recipe, overrides)
    if job["mode"] == "turns":
        memory_job = preflight(config).memory_job
        gib = gib_that_needs_turns(config, memory_job) if memory_job.gpu_bytes else None
        if gib is None:
            raise SystemExit("no amount of memory makes this model's parts take turns")
        config = load_config(recipe, [*overrides, f"cluster.gpu_gib={gib}"])
    result = measure(config, job["mode"])
    (folder / f"result_{job['mode']}.json").write_text(json.dumps(result))


def measure(config: Any, mode: str) -> dict[str, Any]:
    """Train the run; what it needed and how fast it was."""
    from rlreason.build import open_run
    from rlreason.preflight import preflight
    from rlreason.preflight_memory import memory_plans
    from rlreason.trainer import train

    plans = memory_plans(config, preflight(config).memory_job)
    before = used_bytes()
    result: dict[str, Any] = {"mode": mode, "dtype": config.model.dtype}
    result["host_planned_bytes"] = plans.host.most
    if plans.gpu is not None:
        plan = plans.gpu
        fullest = max(plan.columns, key=lambda column: column.total)
        result["planned_bytes"] = fullest.total - fullest.parts["spare"]  # which nobody should use
        if config.cluster.backend == "inline":
            # This process's context is there before anything is measured.
            result["planned_bytes"] -= fullest.parts["CUDA context"]
        result["sleeps"] = plan.engine.sleeps
    with Watch() as watch, open_run(config, fresh=True) as run:
        train(run)
        peak = watch.peak
        if mode == "turns":
            result |= sleep_and_wake(run)
    result["measured_bytes"] = peak - before if peak else None
    if config.cluster.backend == "inline":
        result |= of_this_process()
    return result | speeds(Path(config.run.folder) / config.run.name)


def of_this_process() -> dict[str, int | None]:
    """Its own peaks: where measured and planned bytes differ, these say who took them."""
    import torch

    gpu = torch.cuda.is_available()
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated() if gpu else None,
        "reserved_bytes": torch.cuda.max_memory_reserved() if gpu else None,
        "host_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def sleep_and_wake(run: Any) -> dict[str, float]:
    """Seconds to send the engine to sleep and to wake it with weights, and the bytes between."""
    awake, start = used_bytes(), time.perf_counter()
    run.engine.sleep()
    asleep_s, asleep = time.perf_counter() - start, used_bytes()
    start = time.perf_counter()
    run.publisher.publish(version=run.engine.policy_version)
    return {
        "sleep_s": asleep_s,
        "freed_bytes": awake - asleep,
        "wake_and_publish_s": time.perf_counter() - start,
    }


def speeds(folder: Path) -> dict[str, Any]:
    """Medians over the steps after the first, which warms up; the largest mismatch of all."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    warm = steps[1:] or steps

    def median(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    return {
        "steps": len(steps),
        "mismatch_abs": max(step["mismatch_abs"] for step in steps if step["learned"]),
        "step_s": median([step["step_s"] for step in warm]),
        "publish_s": median([step["phase_s"].get("publish") for step in warm]),
        "rollout_tokens_per_s": median([step["rollout_tokens_per_s"] for step in warm]),
        "learner_tokens_per_s": median([step["learner_tokens_per_s"] for step in warm]),
    }


if __name__ == "__main__":
    main()
