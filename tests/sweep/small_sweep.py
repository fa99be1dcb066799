"""A sweep of fake trials, for tests of everything around them."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import fake_trial

from rlreason.config_file import load_sweep
from rlreason.sweep.folder import SweepFolder
from rlreason.sweep.plan import SweepPlan, make_plan

FAKE = Path(__file__).with_name("fake_trial.py")

RECIPE = """
kind: grpo
run: {steps: 4}
model: {path: tiny-arithmetic}
pools:
  - {name: add2, source: "arithmetic:add", options: {digits: 2, size: 40}, held_out: 8}
  - {name: max3, source: "arithmetic:max", options: {digits: 3, size: 40}, held_out: 8}
scoring: {reward: "rewards.boxed_exact:BoxedExact"}
evaluation: {every: 1, samples: 0}
"""

SWEEP = """
kind: sweep
name: small
base: tiny.yaml
axes:
  curriculum:
    uniform: {curriculum: "curricula.uniform:Uniform"}
    dump: {curriculum: {use: "curricula.dump:Dump", window: 50}}
baseline: {curriculum: uniform}
seeds: [0, 1]
metrics: {last: 2, threshold: 0.4}
slots: 2
"""


def write_files(folder: Path, sweep: str = SWEEP) -> Path:
    """Recipe and sweep file in ``folder``, whose sweep folder lies in it too."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.yaml").write_text(RECIPE)
    path = folder / "small.yaml"
    path.write_text(f"{sweep}folder: {folder / 'sweeps'}\n")
    return path


def small_plan(folder: Path, *overrides: str, sweep: str = SWEEP) -> SweepPlan:
    path = write_files(folder, sweep)
    return make_plan(load_sweep(str(path), overrides), path)


def fake_command(gates: Path) -> Callable[[Path], Sequence[str]]:
    gates.mkdir(parents=True, exist_ok=True)
    return lambda config: [sys.executable, str(FAKE), str(config), str(gates)]


def starts(gates: Path, name: str) -> list[list[int]]:
    """(parent, process, first step) of each start of a trial."""
    path = gates / f"{name}.starts"
    lines = path.read_text().splitlines() if path.exists() else []
    return [[int(part) for part in line.split()] for line in lines]


def run_here(plan: SweepPlan, gates: Path) -> None:
    """Run every trial in this process, which is quicker than starting one for each."""
    gates.mkdir(parents=True, exist_ok=True)
    with SweepFolder(plan).open() as folder:
        for trial in plan.trials:
            fake_trial.main(str(folder.write_config(trial)), str(gates))
