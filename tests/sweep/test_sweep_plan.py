"""The sweep's file: mistakes with lines, trials checked before any starts, what differs."""

import re
from pathlib import Path

import pytest
from small_sweep import SWEEP, small_plan, write_files

from rlreason.config_file import load_config, load_sweep
from rlreason.errors import ConfigError


def test_trials_are_all_combinations_seed_by_seed(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    names = [trial.name for trial in plan.trials]
    assert names == ["uniform-s0", "dump-s0", "uniform-s1", "dump-s1"]
    assert [trial.config.run.seed for trial in plan.trials] == [0, 0, 1, 1]
    assert [trial.config.run.name for trial in plan.trials] == names
    assert plan.trials[1].config.curriculum.options == {"window": 50}
    assert {trial.config.run.folder for trial in plan.trials} == {str(plan.folder / "trials")}
    assert (plan.baseline, plan.pools) == ("uniform", ("add2", "max3"))


def test_fields_may_be_dotted_or_nested_and_lists_name_the_field(tmp_path: Path) -> None:
    sweep = SWEEP.replace(
        "axes:",
        "overrides: {run.steps: 6, learner: {warmup_steps: 3}, pools.add2.held_out: 5}\naxes:\n"
        "  learner.learning_rate: [1e-5, 0.001]",
    ).replace("{curriculum: uniform}\n", "{curriculum: uniform, learner.learning_rate: 1e-5}\n")
    plan = small_plan(tmp_path, sweep=sweep)
    first = plan.trials[0]
    assert first.name == "1e-05-uniform-s0"
    assert first.config.learner.learning_rate == 1e-5
    assert (first.config.run.steps, first.config.learner.warmup_steps) == (6, 3)
    assert first.config.pools[0].held_out == 5
    assert len(plan.trials) == 2 * 2 * 2
    assert plan.baseline == "learner.learning_rate=1e-05, curriculum=uniform"


def test_what_differs_is_told_option_by_option(tmp_path: Path) -> None:
    assert small_plan(tmp_path).differences() == {
        "curriculum.use": {"uniform": "curricula.uniform:Uniform", "dump": "curricula.dump:Dump"},
        "curriculum.window": {"uniform": "", "dump": "50"},
    }


def test_the_command_line_overrides_the_sweep(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "seeds=[7]", "overrides.run.steps=5", "metrics.last=1")
    assert [trial.name for trial in plan.trials] == ["uniform-s7", "dump-s7"]
    assert plan.trials[0].config.run.steps == 5


def test_trials_share_a_machine_and_a_tracker_group(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "overrides.log.wandb={project: p}")
    assert plan.trials[0].config.log.wandb == {"project": "p", "group": "small"}
    assert plan.trials[0].config.cluster.threads == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("slots: 2", "slotz: 2", r"line 12: slotz: unknown field; did you mean 'slots'"),
        ("seeds: [0, 1]", "seeds: [0, 0]", r"seeds = \[0, 0\]: each once"),
        ("{curriculum: uniform}", "{curriculum: unifrom}", r"did you mean 'uniform'"),
        ("{curriculum: uniform}", "{}", r"give one value of each"),
        ("slots: 2", "retries: 3", r"line 12: retries = 3"),
        ("    uniform: {curriculum: ", "    uni/form: {curriculum: ", r"line 6.*a name has"),
        ("slots: 2", "overrides: {run: {seed: 3}}", r"run.seed: set by the sweep itself"),
        ("axes:\n", "axes:\n  algorithm.kl: [0.1]\n", r"line 6: axes.*at least two values"),
        ("axes:\n", "axes:\n  scoring: [{use: x}, 3]\n", r"line 6.*needs a label"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_files(tmp_path, SWEEP.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_sweep(str(path))
    assert re.search(message, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("overrides.learner.learning_rat=1", r"uniform-s0: .*did you mean 'learning_rate'"),
        ("metrics.last=9", r"metrics.last = 9, but it is evaluated only 4 times"),
        ("metrics.pools=[nope]", r"names \['nope'\]"),
        ("metrics.measure=sampled", r"needs evaluation.samples > 0"),
        ("overrides.evaluation.every=0", r"evaluates nothing"),
        ("base=nope.yaml", r"no such file"),
    ],
)
def test_every_trial_is_checked_before_any_starts(
    tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        small_plan(tmp_path, override)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_runs_and_sweeps_name_each_others_verb(tmp_path: Path) -> None:
    path = write_files(tmp_path)
    with pytest.raises(ConfigError, match="rlreason sweep"):
        load_config(str(path))
    with pytest.raises(ConfigError, match="rlreason train"):
        load_sweep(str(tmp_path / "tiny.yaml"))
