"""Runs a sweep on two Ray nodes of this machine, one of which is killed; prints what came of it.

A program of its own, because Ray reads its settings once in a process, when it is imported.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_sweep import fake_command, small_plan, starts

from rlreason.cluster.ray_trials import RayTrials
from rlreason.config import TrialResourcesSection
from rlreason.sweep.display import SweepDisplay
from rlreason.sweep.folder import SweepFolder, steps_done
from rlreason.sweep.plan import SweepPlan
from rlreason.sweep.run import run_sweep

QUICK_TO_SEE_DEATH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,  # of one that lives; a dead one refuses at once
    "health_check_failure_threshold": 3,
}


def main(folder: Path) -> None:
    plan, gates = small_plan(folder), folder / "gates"
    command = fake_command(gates)
    names = [trial.name for trial in plan.trials]
    for name in names:
        (gates / f"{name}.hold").touch()
    cluster, doomed = start_nodes()
    killer = threading.Thread(target=kill_node, args=(cluster, doomed, plan, gates), daemon=True)
    killer.start()
    backend = RayTrials(TrialResourcesSection(), address=cluster.address)
    slots = backend.slots
    with SweepFolder(plan).open() as opened:
        states = run_sweep(opened, backend, SweepDisplay(), command)
    killer.join()
    result = {
        "slots": slots,
        "phases": [state.phase for state in states],
        "failures": sum(state.failures for state in states),
        "first_steps": [[first for _, _, first in starts(gates, name)] for name in names],
    }
    print("RESULT", json.dumps(result))
    cluster.shutdown()


def start_nodes() -> tuple[Any, Any]:
    """A head without cores and two nodes of two."""
    from ray.cluster_utils import Cluster

    head = {"include_dashboard": False, "num_cpus": 0, "_system_config": QUICK_TO_SEE_DEATH}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2)
    return cluster, cluster.add_node(num_cpus=2)


def kill_node(cluster: Any, doomed: Any, plan: SweepPlan, gates: Path) -> None:
    """Once all four trials stand before step 2; they go on when two of them are dead."""
    wait_for(lambda: all(steps_done(plan.run_folder(trial)) == 2 for trial in plan.trials))
    processes = [starts(gates, trial.name)[0][1] for trial in plan.trials]
    cluster.remove_node(doomed, allow_graceful=False)
    wait_for(lambda: sum(map(is_alive, processes)) == 2)
    for trial in plan.trials:
        (gates / f"{trial.name}.hold").unlink()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        if time.monotonic() > deadline:
            os._exit(3)
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
