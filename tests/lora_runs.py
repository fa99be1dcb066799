"""Whole runs with LoRA in a process of their own, started by tests/test_lora_runs.py.

One runs straight, one a step behind with merged weights, another is broken off twice and goes on.
"""

import sys
from pathlib import Path

from rlreason import faults
from rlreason.build import open_run
from rlreason.config import GrpoConfig
from rlreason.protocols import RolloutEngine
from rlreason.trainer import train

STEPS = 5
ENGINES: list[RolloutEngine] = []


def config(folder: Path, publish: str, lag: int) -> GrpoConfig:
    pools = [("add3", "arithmetic:add", 3), ("max6", "arithmetic:max", 6)]
    return GrpoConfig.model_validate(
        {
            "run": {"name": "lora", "folder": str(folder), "steps": STEPS, "checkpoint_every": 2},
            "model": {"path": "tiny-arithmetic"},
            "pools": [
                {
                    "name": name,
                    "source": source,
                    "options": {"digits": digits, "size": 60},
                    "held_out": 8,
                }
                for name, source, digits in pools
            ],
            "scoring": {"reward": "rewards.boxed_exact:BoxedExact"},
            "rollout": {
                "problems_per_step": 8,
                "group_size": 4,
                "max_completion_tokens": 48,
                "lag": lag,
            },
            "algorithm": {"kl": 0.01, "reference_every": 2},
            "learner": {
                "learning_rate": 5e-3,
                "lora": {"rank": 4, "alpha": 8, "publish": publish},
            },
            "cluster": {"threads": 1},
            "evaluation": {"every": STEPS, "samples": 0},
        }
    )


def run(folder: Path, publish: str = "adapter", lag: int = 0) -> None:
    with open_run(config(folder, publish, lag)) as opened:
        ENGINES.append(opened.engine)  # to the end: one that goes takes the process group along
        train(opened)


def main() -> None:
    folder = Path(sys.argv[1])
    run(folder / "straight")
    run(folder / "behind", publish="merged", lag=1)
    for phase, step in (("publish", 1), ("learn", 3)):
        plan = faults._Plan(phase, step, "raise")
        faults._plan = lambda plan=plan: plan  # type: ignore[assignment,misc]
        try:
            run(folder / "broken")
        except faults.InjectedError:
            print("broken off in", phase, step)
    faults._plan = lambda: None  # type: ignore[assignment]
    run(folder / "broken")


if __name__ == "__main__":
    main()
