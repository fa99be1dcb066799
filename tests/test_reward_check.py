"""``rlreason reward test``: good rewards pass, and each kind of mistake is found and named."""

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from rlreason.cli import app
from rlreason.config import ScoringSection
from rlreason.errors import ConfigError, DataError, PluginError
from rlreason.reward_check.check import check_reward
from rlreason.reward_check.findings import CheckResult, FamilyResult, RewardReport
from rlreason.types import Problem

INTEGERS = [
    Problem(id=str(number), pool="p", prompt="?", answer=answer)
    for number, answer in enumerate(("12", "-35"))
]
ROLES = [Problem(id="1", pool="kk", prompt="?", answer="Zoe is a sage, and Bo is a fool.")]


def check(
    name: str,
    *,
    problems: list[Problem] | None = INTEGERS,
    time_limit_s: float = 10.0,
    **options: Any,
) -> RewardReport:
    limits = ScoringSection(time_limit_s=time_limit_s, memory_limit_gib=0.5)
    path = name if ":" in name else f"naive_rewards:{name}"
    return check_reward(path, options, problems=problems, limits=limits)


def family(report: RewardReport, name: str) -> FamilyResult:
    return next(result for result in report.families if result.family == name)


def rule(report: RewardReport, name: str) -> CheckResult:
    return next(result for result in report.checks if result.check == name)


def rlreason(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["reward", *arguments])


def shown(report: RewardReport) -> str:
    file = io.StringIO()
    Console(file=file, width=300).print(report.render())
    return file.getvalue()


def test_the_verifier_passes() -> None:
    result = rlreason("test", "rewards.math_answer:MathAnswer")
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith("passed")
    assert "9 problems" in result.output  # none of the sentences that are for other rewards


@pytest.mark.parametrize(
    ("reward", "problems"),
    [
        ("rewards.boxed_exact:BoxedExact", INTEGERS),
        ("rewards.knights_knaves:KnightsKnaves", ROLES),
        ("naive_rewards:LastLine", INTEGERS),
    ],
)
def test_rewards_without_a_mistake_pass(reward: str, problems: list[Problem]) -> None:
    report = check(reward, problems=problems)
    assert report.failed == []
    assert family(report, "perturbed gold").probes >= 2


def test_a_reward_that_looks_for_the_gold_anywhere_fails_and_the_attacks_are_named() -> None:
    result = rlreason("test", "naive_rewards:ContainsGold")
    assert result.exit_code == 1
    output = " ".join(result.output.split())
    failed = output.partition("failed:")[2]
    for attack in ("hedged answer", "spray of boxes", "repeated boxes"):
        assert attack in failed
    assert "empty" not in failed
    assert r"earned 1: <think>...</think>The answer is \boxed{12 or 13}." in output


def test_json_holds_what_got_through() -> None:
    result = rlreason("test", "naive_rewards:ContainsGold", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    by_name = {entry["family"]: entry for entry in found["families"]}
    assert found["passed"] is False
    assert by_name["gold"]["passed"] is True
    assert by_name["perturbed gold"]["findings"][0]["completion"].endswith(r"\boxed{121}.")
    assert set(found["latency_s"]) == {"p50", "p99", "max"}


TEMPERS = {
    "counts": ("determinism", "in another order"),
    "looks_back": ("determinism", "in another order"),
    "by_process": ("determinism", "in another worker"),
    "leaves_bounds": ("bounds", "NUL"),
    "raises": ("exceptions", "digit runs"),
    "blames_data": ("exceptions", "there is no answer"),
    "hangs": ("time", "over 1 s, the first: 100 k characters"),
    "hoards": ("memory", "MiB"),
}


@pytest.mark.parametrize("temper", sorted(TEMPERS))
def test_a_broken_rule_is_found_and_no_other(temper: str) -> None:
    name, said = TEMPERS[temper]
    limit = {"time_limit_s": 1.0} if temper == "hangs" else {}
    report = check("Tempered", temper=temper, **limit)
    assert report.failed == [name]
    assert said in rule(report, name).found


def test_a_reward_that_draws_from_the_seeded_generator_is_deterministic() -> None:
    assert check("Tempered", temper="seeded").failed == []


def test_executed_text_is_noticed_by_the_file_that_it_leaves(tmp_path: Path) -> None:
    report = check("Tempered", temper="executes")
    assert report.failed == ["boxed python"]
    (found,) = family(report, "boxed python").findings[:1]
    assert found.completion.startswith('__import__("pathlib")')
    assert found.earned == "executed as code, 0"
    assert not Path(found.completion.split('"')[3]).exists()


def test_a_reward_that_ignores_answers_fails_unless_it_says_so() -> None:
    careless = check("Always")
    assert "perturbed gold" in careless.failed
    assert any("needs_answer = False" in note for note in careless.notes)
    declared = check("LabelFree")
    assert declared.failed == []
    assert {result.wanted for result in declared.families} == {"any"}


def test_the_form_of_a_right_completion_can_be_given() -> None:
    unknown = check("Shouts")
    assert "gold" in unknown.failed
    assert any("--gold" in note for note in unknown.notes)
    result = rlreason("test", "naive_rewards:Shouts", "--gold", "HERE IT IS {answer}!")
    assert result.exit_code == 0, result.output
    with pytest.raises(ConfigError, match=r"needs \{answer\}"):
        check_reward("naive_rewards:Shouts", {}, gold="HERE IT IS")


def test_built_in_problems_are_those_that_the_reward_accepts() -> None:
    words = check("OnlyWords", problems=None)
    assert (words.problems, words.failed) == (2, [])
    roles = check("rewards.knights_knaves:KnightsKnaves", problems=None)
    assert (roles.problems, roles.failed) == (2, [])


def test_a_reward_that_accepts_no_problem_says_why() -> None:
    with pytest.raises(DataError, match=r"none of the 2 problems.*not a chess position"):
        check("TakesNothing")


def test_refused_problems_of_the_data_are_told() -> None:
    odd = Problem(id="odd", pool="p", prompt="?", answer="Zoe")
    report = check("rewards.knights_knaves:KnightsKnaves", problems=[*ROLES, odd])
    assert report.problems == 1
    assert "1 problems were refused; p/odd" in report.notes[0]


def test_nothing_in_the_table_can_drive_a_terminal() -> None:
    text = shown(check("ContainsGold"))
    assert r"12\x0013" in text
    assert not {"\x00", "\x1b", "\u202e", "\u200b"} & set(text)


def test_problems_come_from_a_file(tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"{n}?", "answer": f"{n}{n + 1}"} for n in range(1, 9)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = partial(rlreason, "test", "naive_rewards:LastLine", "--data", str(data))
    assert "4 problems" in run("--problems", "4").output
    assert "8 problems" in run().output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["naive_rewards:LastLin"], "did you mean 'LastLine'"),
        (["rewards.boxed_exact:BoxedExact", "strict_fomat=false"], "did you mean 'strict_format'"),
        (["rewards.boxed_exact:BoxedExact", "strict_format"], "not of the form key.path=value"),
        (["naive_rewards:LastLine", "--data", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_mistakes_of_the_user_end_with_2_and_one_message(arguments: list[str], said: str) -> None:
    result = rlreason("test", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_options_reach_the_reward() -> None:
    assert check("rewards.boxed_exact:BoxedExact", strict_format=False).failed == []
    with pytest.raises(PluginError, match="temper"):
        check("Tempered", tempre="counts")
