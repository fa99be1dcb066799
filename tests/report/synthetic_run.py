"""Writes a run folder that never ran: rising rewards, a moving curriculum, hostile completions."""

import json
import math
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rlreason.metrics import StepMetrics, to_json
from rlreason.pool_metrics import PoolMetrics

POOLS = ["add2", "add3", "chain", "carry", "compare", "word", "hard"]
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\x1b[2J\u202eevil"

HOSTILE_ID = "\"><svg onload=alert(2)> ' onmouseover='alert(3)"


def write_run(
    folder: Path, *, steps: int = 60, versions: tuple[int, ...] = (0, 20, 40, 60)
) -> Path:
    folder.mkdir(parents=True)
    pools = "".join(f"  - {{name: {name}, source: 'arithmetic:{name}'}}\n" for name in POOLS)
    (folder / "config.yaml").write_text(
        "kind: grpo\n"
        f"run: {{name: {folder.name}, seed: 3, steps: {steps}}}\n"
        "model: {path: tiny-arithmetic, dtype: float32}\n"
        f"pools:\n{pools}"
        "scoring: {reward: rewards.boxed_exact:BoxedExact, workers: 1}\n"
        "curriculum: {use: 'curricula.dump:Dump', window: 300, temperature: 0.1}\n"
        "learner: {learning_rate: 1e-4, schedule: constant}\n"
        "log: {wandb: {project: p, api_key: wandb-very-secret}}\n"
    )
    rows = [step_metrics(step, steps) for step in range(steps)]
    (folder / "metrics.jsonl").write_text("".join(to_json(row) + "\n" for row in rows))
    (folder / "evaluations.jsonl").write_text(
        "".join(json.dumps(evaluation(version, steps)) + "\n" for version in versions)
    )
    write_journal(folder, steps - 1)
    return folder


def step_metrics(step: int, steps: int) -> StepMetrics:
    chance, t = random.Random(step), step / steps
    raw = [math.exp(-(((i / 6) - t) ** 2) * 8) for i in range(len(POOLS))]
    weights = [value / sum(raw) for value in raw]
    reward = min(1.0, max(0.0, 0.2 + 0.7 * t + chance.gauss(0, 0.05)))
    skipped = step == 30
    return StepMetrics(
        step=step, policy_version=step, replayed=step in (41, 42),
        reward_mean=reward, reward_std=math.sqrt(reward * (1 - reward)),
        reward_parts={"correct": reward}, signal_frac=0.0 if step == 50 else 0.7 - 0.3 * t,
        solved_frac=0.6 if step == 50 else 0.1 + 0.4 * t, hopeless_frac=0.3 * (1 - t),
        outcome_fracs={"ok": 0.95, "unparseable": 0.05 * (1 - t), "over_limit": 0.0,
                       "timeout": 0.0, "crash": 0.0, "infra": 0.0},
        completion_tokens_mean=38 + 6 * t + chance.gauss(0, 1), completion_tokens_max=60,
        truncated_frac=0.1 * (1 - t), prompt_tokens_mean=12.0, num_rollouts=256,
        rollout_tokens=9700, rollout_tokens_so_far=9700 * (step + 1),
        learned=not skipped, skipped=skipped, loss=math.nan if skipped else 0.01,
        grad_norm=None if skipped else 0.3 + chance.random() / 5,
        learning_rate=1e-4, entropy=0.6 * math.exp(-2 * t), clip_frac=0.0, bounded_frac=0.0,
        mismatch_kl=1e-7, mismatch_abs=4e-7 * (1 + chance.random()), kl=0.0, num_tokens=12000,
        padding_frac=0.04, refill=None, greedy_tokens=0, control=None,
        pools={name: PoolMetrics(weight=w, draws=round(32 * w), reward_mean=reward, solved_frac=0.2,
                                 hopeless_frac=0.1, tokens=1000, reuse_mean=0.5,
                                 distinct_frac=(step + 1) / steps, draws_so_far=5 * (step + 1),
                                 tokens_so_far=1000 * (step + 1),
                                 curriculum={"mean_abs_advantage": w, "bonus": 0.02})
               for name, w in zip(POOLS, weights, strict=True)},
        draw_entropy=1.7,
        phase_s={"draw": 0.001, "rollout": 0.28 + chance.random() / 20, "score": 0.02,
                 "journal": 0.01, "learn": 0.11, "publish": 0.01},
        step_s=0.45, overhead_frac=0.02, rollout_tokens_per_s=34000.0,
        learner_tokens_per_s=110000.0, peak_rss_gib=1.4,
    )  # fmt: skip


def evaluation(version: int, steps: int) -> dict:
    def summary(mean: float, problems: int) -> dict:
        half = 1.96 * math.sqrt(max(mean * (1 - mean), 0.01) / problems)
        interval = {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half)}
        return {"num_problems": problems, "greedy": interval, "avg_at_k": interval | {"k": 4},
                "pass_at_k": {"1": interval, "4": interval | {"mean": min(1.0, mean + 0.1)}},
                "mean_tokens": 38.2, "truncated_frac": 0.01, "unparseable_frac": 0.02}  # fmt: skip

    t = version / steps
    means = [min(0.98, 0.1 + t * max(0.0, 1.1 - i / 5)) for i in range(len(POOLS))]
    pools = {name: summary(mean, 64) for name, mean in zip(POOLS, means, strict=True)}
    overall = sum(means) / len(means)
    return {"version": version, "pools": pools, "overall": summary(overall, 64 * len(POOLS)),
            "macro_greedy": overall}  # fmt: skip


def write_journal(folder: Path, step: int, *, groups: int = 8, size: int = 4) -> None:
    """Groups of one right, one wrong, one unread and one hidden completion."""
    target = folder / "steps" / f"{step:06d}"
    target.mkdir(parents=True)
    rows = [journal_row(step, slot, sample) for slot in range(groups) for sample in range(size)]
    pq.write_table(pa.Table.from_pylist(rows), target / "rollouts.parquet")
    (target / "MANIFEST.json").write_text("{}")


def journal_row(step: int, slot: int, sample: int) -> dict:
    text = [
        f"12 + {slot} = {12 + slot} \\boxed{{{12 + slot}}}",
        HOSTILE,
        "I do not know. " * 9,
        "lost",
    ]
    return {
        "step": step, "slot": slot, "sample": sample, "pool": POOLS[slot % len(POOLS)],
        "problem_id": HOSTILE_ID if slot == 0 else f"p{slot}",
        "prompt": json.dumps([{"role": "system", "content": "Answer in a box."},
                              {"role": "user", "content": f"What is 12 + {slot}?"}]),
        "answer": str(12 + slot), "metadata": "{}", "prompt_ids": [1, 2],
        "completion_ids": [5] * 20,
        "completion": text[sample], "rollout_logprobs": [-0.1] * 20,
        "finish_reason": "length" if sample == 2 else "stop", "policy_version": step,
        "score": [1.0, 0.0, 0.1, 9.0][sample],
        "score_parts": json.dumps({"format": float(sample == 0)}),
        "outcome": ["ok", "ok", "unparseable", "infra"][sample], "score_seconds": 0.001,
        "advantage": [1.5, -0.8, -0.7, 0.0][sample],
    }  # fmt: skip
