"""One rank of a learner in a process of its own: what tests/learner/test_ranks.py starts twice.

Arguments: a JSON object with the jobs; results are written by rank 0.
"""

from __future__ import annotations

import json
import os
import sys
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
        learner = make_learner(zero_stage=stage, tokens_per_microbatch=job["budget"], **job["more"])
        batch = make_batch(count=job["count"], seed=1)
        if job.get("load"):
            learner.load(Path(job["load"]) / f"zero{stage}" / "learner")
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
