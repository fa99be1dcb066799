"""One rank of a learner in a process of its own, started by tests/learner/test_ranks.py.

Takes one update at every asked stage and has rank 0 write what came of it.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ["GLOO_SOCKET_IFNAME"] = "lo"

from safetensors.torch import save_file
from test_deepspeed_learner import make_batch, make_learner

from rlreason.cluster.inline import RankPlace, prepare_process
from rlreason.config import ClusterSection


def main() -> None:
    job = json.loads(sys.argv[1])
    place = RankPlace(job["rank"], job["ranks"], f"file://{job['meeting']}")
    prepare_process(ClusterSection(threads=1), place)
    folder = Path(job["folder"])
    for stage in job["stages"]:
        out = folder / f"zero{stage}"
        options = {"zero_stage": stage, "tokens_per_microbatch": job["budget"]}
        saved = Path(job["load"]) / f"zero{stage}" if "load" in job else None
        learner = make_learner(path=saved and saved / "policy", **options)
        batch = make_batch(count=job["count"], seed=1)
        if saved:
            learner.load(saved / "learner")
            # Of any weights: what was sampled plays no part here.
            unsampled = (replace(one, rollout_logprobs=None) for one in batch.sequences)
            batch = replace(batch, sequences=tuple(unsampled))
        before = learner.digests()
        stats = learner.update([batch], step=0)
        weights = {name: tensor.clone() for name, tensor in learner.named_tensors()}
        digests = learner.digests()
        if place.rank == 0:
            out.mkdir(parents=True)
        learner.save(out / "learner")
        if place.rank == 0:
            (out / "policy").mkdir()
        learner.export_policy(out / "policy")
        if place.rank == 0:
            save_file(weights, out / "weights.safetensors")
            facts = {"before": before, "after": digests} | {
                name: getattr(stats, name) for name in stats.__slots__
            }
            (out / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
