"""One rank of a learner with an adapter, started by tests/learner/test_lora_ranks.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["GLOO_SOCKET_IFNAME"] = "lo"

import torch
from safetensors.torch import save_file
from test_deepspeed_learner import make_batch
from test_lora import make_learner

from rlreason.cluster.inline import RankPlace, prepare_process
from rlreason.config import ClusterSection


def main() -> None:
    order = json.loads(sys.argv[1])
    place = RankPlace(order["rank"], order["ranks"], f"file://{order['meeting']}")
    prepare_process(ClusterSection(threads=1), place)
    for job in order["jobs"]:
        for stage in job["stages"]:
            saved = Path(job["load"]) / f"zero{stage}" if "load" in job else None
            learn(Path(job["folder"]) / f"zero{stage}", saved, stage, place.rank)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def learn(out: Path, saved: Path | None, stage: int, rank: int) -> None:
    """Take two updates, or only load what was saved; then save and export."""
    learner = make_learner(saved and saved / "adapter", zero_stage=stage, tokens_per_microbatch=256)
    if saved:
        learner.load(saved / "learner")
    before = learner.digests()
    norm = 0.0 if saved else learner.update([make_batch(count=5)] * 2, step=0).grad_norm
    digests = learner.digests()
    weights = {name: tensor.clone() for name, tensor in learner.named_tensors()}
    if rank == 0:
        for name in ("learner", "policy"):
            (out / name).mkdir(parents=True)
        facts = {"before": before, "after": digests, "grad_norm": norm}
        (out / "facts.json").write_text(json.dumps(facts))
        save_file(weights, out / "weights.safetensors")
    torch.distributed.barrier()
    learner.save(out / "learner")
    learner.export_policy(out / "policy")
    learner.export_adapter(out / "adapter")
    torch.distributed.barrier()


if __name__ == "__main__":
    main()
