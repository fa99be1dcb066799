"""Real runs from the command line: killed, interrupted, finished, exported.

kill -9 at every phase ends with the same bits after the same command. One run is killed once in
each phase, at another step each time, so every start continues what the kill before it left. It
ends equal to a run that nobody killed. That one, and the one that SIGTERM ends, are started from
nothing as a user starts them; the others in forks that have only the imports behind them.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from plain_vllm import PROGRAM, answers
from transformers import AutoModelForCausalLM, AutoTokenizer
from warm_start import WarmProcess

from rlreason.config_file import load_config
from rlreason.preflight import preflight

STEPS = 8
RECIPE = f"""
kind: grpo
run: {{name: tiny, steps: {STEPS}, checkpoint_every: 3}}
model: {{path: tiny-arithmetic}}
pools:
  - {{name: add3, source: "arithmetic:add", options: {{digits: 3, size: 60}}, held_out: 4}}
  - {{name: max6, source: "arithmetic:max", options: {{digits: 6, size: 60}}, held_out: 4}}
  - {{name: rev6, source: "arithmetic:rev", options: {{digits: 6, size: 60}}, held_out: 4}}
scoring: {{reward: "rewards.boxed_exact:BoxedExact"}}
rollout:
  {{problems_per_step: 6, group_size: 4, max_completion_tokens: 64, refill: {{max_extra: 1.0}}}}
algorithm:
  kl: 0.01
  kl_control: {{target: 0.001}}
  reference_every: 2
  entropy_control: {{target: 0.5}}
learner: {{learning_rate: 5e-4, warmup_steps: 2}}
cluster: {{threads: 1}}
evaluation: {{every: 4, samples: 0}}
"""


def arguments(folder: Path, *overrides: str) -> list[str]:
    recipe = folder / "tiny.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(RECIPE)
    return ["-m", "rlreason", "train", str(recipe), f"run.folder={folder}", *overrides]


def start(folder: Path) -> subprocess.Popen[str]:
    """The command line itself, from nothing."""
    return subprocess.Popen(
        [sys.executable, *arguments(folder)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


def run(
    warm: WarmProcess, folder: Path, *overrides: str, fault: str | None = None
) -> tuple[int, str]:
    environment = {"RLREASON_FAULT": fault} if fault else {}
    return warm.run(*arguments(folder, *overrides), environment=environment)


def final_state(folder: Path) -> dict[str, Any]:
    path = folder / "tiny" / "checkpoints" / f"{STEPS:06d}" / "state.json"
    return json.loads(path.read_text())


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "tiny" / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    code, output = finish(start(folder))
    assert code == 0, output
    return folder


@pytest.mark.timeout(1200)  # on busy cores
def test_a_run_killed_in_every_phase_ends_with_the_same_bits(
    straight: Path, tmp_path: Path, warm: WarmProcess
) -> None:
    faults = {"rollout": 1, "score": 2, "journal": 3, "learn": 4, "publish": 5, "record": 6}
    for phase, step in (*faults.items(), ("refill", 7), ("checkpoint", STEPS)):
        code, output = run(warm, tmp_path, fault=f"{phase}:{step}:kill9")
        assert code == -signal.SIGKILL, f"{phase}: {output}"
    code, output = run(warm, tmp_path)
    assert code == 0, output
    assert final_state(tmp_path) == final_state(straight)
    assert [row["step"] for row in rows(tmp_path, "metrics.jsonl")] == list(range(STEPS))
    pools = [[row["pools"] for row in rows(path, "metrics.jsonl")] for path in (tmp_path, straight)]
    assert pools[0] == pools[1]
    measured = [
        [(row["refill"], row["control"], row["kl"]) for row in rows(path, "metrics.jsonl")]
        for path in (tmp_path, straight)
    ]
    assert measured[0] == measured[1]
    versions = [row["version"] for row in rows(tmp_path, "evaluations.jsonl")]
    assert versions == [0, 4, STEPS]
    assert rows(tmp_path, "evaluations.jsonl") == rows(straight, "evaluations.jsonl")


def test_a_run_one_step_behind_that_is_killed_samples_from_the_same_versions_again(
    tmp_path: Path, warm: WarmProcess
) -> None:
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    code, output = run(warm, straight, "rollout.lag=1")
    assert code == 0, output
    # Step 5 is lost on its way to the journal, beside step 4. From the checkpoint of version 3,
    # steps 3 and 4 are replayed, and step 5 is sampled from version 4 once more.
    code, output = run(warm, killed, "rollout.lag=1", fault="journal:5:kill9")
    assert code == -signal.SIGKILL, output
    code, output = run(warm, killed, "rollout.lag=1")
    assert code == 0, output
    assert final_state(killed) == final_state(straight)
    for folder in (killed, straight):
        versions = [row["policy_version"] for row in rows(folder, "metrics.jsonl")]
        assert versions == [0, *range(STEPS - 1)]
    assert [row["replayed"] for row in rows(killed, "metrics.jsonl")][3:6] == [True, True, False]
    assert rows(killed, "evaluations.jsonl") == rows(straight, "evaluations.jsonl")


def test_the_state_compared_is_the_whole_state(straight: Path) -> None:
    state = final_state(straight)
    assert set(state["digests"]) == {"parameters", "optimizer", "reference"}
    assert {"curriculum", "pools", "draws", "controls"} <= set(state["state"])
    # Dynamic sampling draws more than the 6 problems of a step, and every one of them counts.
    sampled = sum(row["num_rollouts"] for row in rows(straight, "metrics.jsonl"))
    assert sampled > STEPS * 6 * 4
    draws = state["state"]["draws"]["pools"].values()
    assert sum(sum(pool["times"].values()) for pool in draws) == sampled / 4
    seen = [pool["seen"] for pool in state["state"]["curriculum"]["pools"].values()]
    assert sum(seen) == sampled
    assert state["state"]["controls"]["reference_version"] == STEPS
    learner = straight / "tiny" / "checkpoints" / f"{STEPS:06d}" / "learner"
    assert (learner / "reference.safetensors").exists()


def test_sigterm_saves_and_leaves_and_the_same_command_continues(
    straight: Path, tmp_path: Path, warm: WarmProcess
) -> None:
    process = start(tmp_path)
    metrics = tmp_path / "tiny" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text().strip()):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    code, output = finish(process)
    assert code == 128 + signal.SIGTERM, output
    assert "SIGTERM" in output
    saved = [folder.name for folder in (tmp_path / "tiny" / "checkpoints").iterdir()]
    assert saved
    code, output = run(warm, tmp_path)
    assert code == 0, output
    assert final_state(tmp_path) == final_state(straight)


def test_a_finished_run_says_so_and_changes_nothing(straight: Path, warm: WarmProcess) -> None:
    before = final_state(straight)
    code, output = run(warm, straight)
    assert code == 0, output
    assert final_state(straight) == before
    assert len(rows(straight, "metrics.jsonl")) == STEPS


def plain_transformers(policy: Path, prompts: list[list[int]]) -> list[str]:
    tokenizer = AutoTokenizer.from_pretrained(policy)
    model = AutoModelForCausalLM.from_pretrained(policy)
    answers = []
    for ids in prompts:
        output = model.generate(torch.tensor([ids]), max_new_tokens=64, do_sample=False)
        answers.append(tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))
    return answers


def plain_vllm(warm: WarmProcess, policy: Path, prompts: list[list[int]]) -> list[str]:
    order = {"model": str(policy), "prompts": prompts, "max_tokens": 64}
    return [answer["text"] for answer in answers(*warm.run(PROGRAM, json.dumps(order)))]


def test_the_exported_policy_answers_alike_outside_rlreason(
    straight: Path, warm: WarmProcess
) -> None:
    run = straight / "tiny"
    policy = run / "checkpoints" / f"{STEPS:06d}" / "policy"
    config = load_config(str(run / "config.yaml"))
    held_out = preflight(config).held_out
    tokenizer = AutoTokenizer.from_pretrained(policy)
    keys, prompts = [], []
    for pool, problems in held_out.items():
        for problem in problems:
            turns = [{"role": "user", "content": problem.prompt}]
            keys.append((pool, problem.id))
            prompts.append(
                tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            )
    results = pq.read_table(run / "evaluations" / f"{STEPS:06d}.parquet").to_pylist()
    recorded = {(row["pool"], row["problem_id"]): row["greedy_completion"] for row in results}
    expected = [recorded[key] for key in keys]
    assert len(expected) == 12
    assert plain_transformers(policy, prompts) == expected
    assert plain_vllm(warm, policy, prompts) == expected
