"""One rank of a learner in a process of its own, started by tests/learner/test_ranks.py.

Does one job after the other; rank 0 writes what came of each.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["GLOO_SOCKET_IFNAME"] = "lo"

import torch
from safetensors.torch import save_file
from sending_rank import send_both_ways
from test_deepspeed_learner import make_batch, make_learner
from test_objectives import CASES, make_groups, with_drift

from rlreason.cluster.inline import RankPlace, prepare_process
from rlreason.config import ClusterSection
from rlreason.errors import StalePolicyError
from rlreason.learner.deepspeed_learner import DeepSpeedLearner
from rlreason.types import TrainBatch


def main() -> None:
    order = json.loads(sys.argv[1])
    place = RankPlace(order["rank"], order["ranks"], f"file://{order['meeting']}")
    prepare_process(ClusterSection(threads=1), place)
    for job in order["jobs"]:
        folder = Path(job["folder"])
        if place.rank == 0:
            folder.mkdir(parents=True)
        if job["kind"] == "gradients":
            write_gradients(job, place.rank, folder)
        else:
            for stage in job["stages"]:
                update_once(job, place.rank, stage, folder / f"zero{stage}")
    torch.distributed.barrier()  # its threads end here, or the exit may abort
    torch.distributed.destroy_process_group()


def update_once(job: dict[str, Any], rank: int, stage: int, out: Path) -> None:
    """Load if asked, take one update, save and export."""
    saved = Path(job["load"]) / f"zero{stage}" if "load" in job else None
    learner = make_learner(
        path=saved and saved / "policy", zero_stage=stage, tokens_per_microbatch=job["budget"]
    )
    batch = make_batch(count=job["count"], seed=1)
    if saved:
        learner.load(saved / "learner")
        # Of any weights: what was sampled plays no part here.
        unsampled = (replace(one, rollout_logprobs=None) for one in batch.sequences)
        batch = replace(batch, sequences=tuple(unsampled))
    before = learner.digests()
    proof = {} if saved else prove(learner, batch)
    # Later updates: the old logprobs are a forward that all ranks must take alike.
    stats = learner.update([batch] * job["updates"], step=0)
    weights = {name: tensor.clone() for name, tensor in learner.named_tensors()}
    digests = learner.digests()
    if rank == 0:
        (out / "policy").mkdir(parents=True)
    learner.save(out / "learner")
    learner.export_policy(out / "policy")
    if job["sends"]:
        send_both_ways(learner, out)
    if rank == 0:
        save_file(weights, out / "weights.safetensors")
        facts = {"before": before, "after": digests} | proof
        facts |= {name: getattr(stats, name) for name in stats.__slots__}
        (out / "facts.json").write_text(json.dumps(facts))


def prove(learner: DeepSpeedLearner, batch: TrainBatch) -> dict[str, Any]:
    """What ``check_sampler`` says of samples that are off in their last token."""
    first, *others = batch.sequences

    def off_by(nats: float) -> float:
        assert first.rollout_logprobs is not None
        changed = (*first.rollout_logprobs[:-1], first.rollout_logprobs[-1] - nats)
        return learner.check_sampler([replace(first, rollout_logprobs=changed), *others], version=7)

    little = 2e-5 * batch.num_loss_tokens
    facts: dict[str, Any] = {"gap": off_by(little), "refusal": ""}
    try:
        off_by(10 * little)
    except StalePolicyError as error:  # of every rank, which go on alike
        facts["refusal"] = str(error)
    return facts


def write_gradients(job: dict[str, Any], rank: int, folder: Path) -> None:
    """The gradient of a later update under every loss and aggregation, over all ranks."""
    learner, batch = make_learner(tokens_per_microbatch=job["budget"]), make_groups()
    for name, options in CASES.items():
        learner._algorithm = options
        learner._engine.zero_grad()
        plan = learner._microbatches(batch)
        learner._accumulate(batch, plan, with_drift(learner, plan))
        learner._engine.buffered_allreduce_fallback()
        gradients = {name: p.grad.clone() for name, p in learner._model.named_parameters()}
        if rank == 0:
            save_file(gradients, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main()
