"""The label-free experiment: its base model's data, its runs' configurations, its table."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))

import label_free  # noqa: E402
import solutions_by_length  # noqa: E402
from check_tiny_arithmetic import is_right, is_strict  # noqa: E402
from tiny_tokenizer import make_tokenizer  # noqa: E402

from rlreason.config_file import load_config  # noqa: E402
from rlreason.data.arithmetic import solve  # noqa: E402
from rlreason.preflight import preflight  # noqa: E402


def examples() -> list[tuple[int, bool, bool]]:
    """Tokens, right, strict of a thousand examples."""
    tokenizer, rng = make_tokenizer(), random.Random(0)
    found = []
    for _ in range(1000):
        share = rng.choice(solutions_by_length.MIX)
        prompt, completion = solutions_by_length.make_example(share, rng)
        answer = solve(*prompt.split()).answer
        tokens = len(tokenizer.encode(f"{completion}<eos>"))
        found.append((tokens, is_right(completion, answer), is_strict(completion)))
    return found


def test_length_tells_right_from_wrong_on_the_base_made_here() -> None:
    found = examples()
    well_formed = [(tokens, right) for tokens, right, strict in found if strict]
    assert 0.55 < len(well_formed) / len(found) < 0.65
    right_lengths = [tokens for tokens, right in well_formed if right and tokens > 25]
    middle = [right for tokens, right in well_formed if 35 <= tokens <= 50]
    others = [right for tokens, right in well_formed if not 35 <= tokens <= 50]
    assert sum(middle) / len(middle) == 1.0
    assert sum(others) / len(others) < 0.25  # guesses and slips that hit
    assert min(right_lengths) >= 40
    assert max(tokens for tokens, _ in well_formed) <= 90


@pytest.mark.parametrize("name", label_free.ARMS)
def test_every_run_is_a_configuration_that_would_start(name: str) -> None:
    arm = label_free.ARMS[name]
    config = load_config(str(label_free.RECIPE), [*arm.overrides, "run.seed=1"])
    plan = preflight(config)
    assert config.run.steps == label_free.STEPS
    assert plan.evaluation_rewards["add4"].use == "rewards.boxed_exact:BoxedExact"
    assert plan.evaluation_rewards["add4"].options == {"strict_format": False}
    assert all(len(held_out) == 64 for held_out in plan.held_out.values())


def test_the_table_shows_means_and_the_spread_of_the_last_step() -> None:
    curves: Any = {
        "lengths": {
            "random": [
                label_free.Curve([0, 36], [0.25, 0.5], [30.0, 44.0]),
                label_free.Curve([0, 36], [0.35, 0.7], [30.0, 46.0]),
            ]
        }
    }
    header, _, line = label_free.table(curves, "lengths").splitlines()
    assert header == "| reward | step 0 | step 36 | tokens |"
    assert line == "| random | 0.30 | 0.60 ± 0.14 | 45 ± 1 |"
