"""The sweep folder: its lock, what was planned when, what each attempt came to, what is finished.

sweeps/NAME/  sweep.yaml   base.yaml   plans.jsonl   attempts.jsonl   table.md   report.html
              configs/TRIAL.yaml   logs/TRIAL.log   trials/TRIAL/  (ordinary run folders)
"""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from rlreason import jsonl
from rlreason.atomic import clean_leftovers, replace_file
from rlreason.config import GrpoConfig
from rlreason.config_file import resolved_yaml, whole_recipe
from rlreason.errors import CheckpointError, ConfigError, RunLockedError
from rlreason.run_folder import RunFolder
from rlreason.sweep.plan import SweepPlan, Trial

SWEEP_FILE = "sweep.yaml"
BASE_FILE = "base.yaml"
PLANS_FILE = "plans.jsonl"
ATTEMPTS_FILE = "attempts.jsonl"
FIXED = ("metrics", "baseline")
"""What may not change once a trial has finished: it would be chosen by the results."""


class SweepFolder:
    """A sweep's files. ``open`` makes this process their owner."""

    def __init__(self, plan: SweepPlan) -> None:
        self.plan = plan
        self.path = plan.folder
        self._attempts_file = plan.folder / ATTEMPTS_FILE
        self._held = contextlib.ExitStack()

    def open(self) -> Self:
        """Take the sweep for this process and write its plan.

        Raises:
            RunLockedError: If another process runs this sweep.
            ConfigError: If it was started with other rules, or its trials with other settings.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._held.enter_context(FileLock(self.path / ".lock", timeout=0, thread_local=False))
        except Timeout:
            raise RunLockedError(
                f"sweep folder {self.path} is in use by another process; wait until it ends, or "
                "choose another name"
            ) from None
        try:
            clean_leftovers(self.path)
            self.check()
            self._write_plan()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Give the folder free."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self) -> None:
        """Refuse what would mix two experiments; changes nothing.

        Raises:
            ConfigError: Naming the trial or the field.
        """
        for trial in self.plan.trials:
            refused = RunFolder(self.plan.run_folder(trial)).refused_changes(trial.config)
            if refused:
                raise ConfigError(
                    f"{self.path}: trial {trial.name} was started with another configuration:\n"
                    f"{refused}\ngive these fields their old values, or the sweep another name"
                )
        finished = [trial.name for trial in self.plan.trials if self.is_finished(trial)]
        before, now = self._last_plan(), self._plan_now()
        changed = [name for name in FIXED if before and before[name] != now[name]]
        if finished and changed:
            raise ConfigError(
                f"{self.path}: {' and '.join(changed)} differ from what was fixed before the first "
                f"of {len(finished)} finished trials; give them their old values "
                f"({self.path / SWEEP_FILE}), or the sweep another name"
            )

    def plan_changes(self) -> list[str]:
        """In words, what was changed after the first plan, and how much had finished by then."""
        plans = [json.loads(line) for line in jsonl.read_lines(self.path / PLANS_FILE)]
        notes = []
        for before, now in itertools.pairwise(plans):
            keys = [key for key in now["plan"] if before["plan"].get(key) != now["plan"][key]]
            notes.append(f"{', '.join(keys)} changed after {now['finished']} finished trials")
        return notes

    def is_finished(self, trial: Trial) -> bool:
        """Whether the trial's run folder holds all that the trial was to measure."""
        return is_finished(self.plan.run_folder(trial), trial.config)

    def log_of(self, trial: Trial) -> Path:
        """What the trial's process printed."""
        return self.path / "logs" / f"{trial.name}.log"

    def write_config(self, trial: Trial) -> Path:
        """The resolved config that the trial's process reads."""
        path = self.path / "configs" / f"{trial.name}.yaml"
        path.parent.mkdir(exist_ok=True)
        replace_file(path, resolved_yaml(trial.config))
        return path

    def failures(self, trial: Trial) -> int:
        """Attempts that failed, of all calls of the sweep, since failures were last forgiven."""
        events = [event for event in self._attempts() if event["trial"] in (trial.name, "*")]
        forgiven = [index for index, event in enumerate(events) if event["trial"] == "*"]
        counted = events[forgiven[-1] + 1 :] if forgiven else events
        return sum(event["code"] != 0 for event in counted)

    def seconds(self, trial: Trial) -> float:
        """Wall time of the attempts that came to an end."""
        return sum(event["seconds"] for event in self._attempts() if event["trial"] == trial.name)

    def add_attempt(self, trial: Trial, code: int, seconds: float) -> None:
        """Note how an attempt ended. One that was killed with the sweep leaves no note."""
        event = {"trial": trial.name, "code": code, "seconds": round(seconds, 3)}
        jsonl.append(self._attempts_file, json.dumps(event))

    def forgive_failures(self) -> None:
        """Let trials that are marked as failed be tried again."""
        jsonl.append(self._attempts_file, json.dumps({"trial": "*", "code": 0, "seconds": 0.0}))

    def _attempts(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in jsonl.read_lines(self._attempts_file)]

    def _plan_now(self) -> dict[str, Any]:
        return self.plan.config.model_dump(mode="json")

    def _last_plan(self) -> dict[str, Any] | None:
        lines = jsonl.read_lines(self.path / PLANS_FILE)
        plan: dict[str, Any] | None = json.loads(lines[-1])["plan"] if lines else None
        return plan

    def _write_plan(self) -> None:
        # A torn last line would spoil the next append.
        for name in (PLANS_FILE, ATTEMPTS_FILE):
            jsonl.rewrite(self.path / name, jsonl.read_lines(self.path / name))
        # With its base recipe, so that the folder tells everything wherever it is moved.
        replace_file(self.path / BASE_FILE, whole_recipe(self.plan.base))
        own = self.plan.config.model_copy(update={"base": BASE_FILE})
        replace_file(self.path / SWEEP_FILE, resolved_yaml(own))
        if self._last_plan() != self._plan_now():
            finished = sum(self.is_finished(trial) for trial in self.plan.trials)
            line = json.dumps({"finished": finished, "plan": self._plan_now()})
            jsonl.append(self.path / PLANS_FILE, line)


def is_finished(folder: Path, config: GrpoConfig) -> bool:
    """Whether a run folder holds every step and every evaluation of ``config``."""
    steps, every = config.run.steps, config.evaluation.every
    try:
        recorded = [json.loads(line)["step"] for line in jsonl.read_lines(folder / "metrics.jsonl")]
        rows = jsonl.read_lines(folder / "evaluations.jsonl")
    except CheckpointError:
        return False
    versions = {json.loads(row)["version"] for row in rows}
    due = {0, steps, *range(0, steps, every)}
    return (
        (folder / "config.yaml").is_file()
        and recorded == list(range(steps))
        and due <= versions
        and all((folder / "evaluations" / f"{version:06d}.parquet").is_file() for version in due)
    )


def steps_done(folder: Path) -> int:
    """Steps that a run has recorded; cheap, for displays."""
    try:
        with (folder / "metrics.jsonl").open("rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0
