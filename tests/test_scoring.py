"""WorkerScorer on completions that behave: order, overlap, contracts, and what a worker may see."""

import os
import random
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from scoring_groups import group, scorer, scores_of

from rlreason.config import PluginConfig, ScoringSection
from rlreason.errors import DataError, PluginError, TrainingStopped
from rlreason.scoring import WorkerScorer
from rlreason.types import RolloutGroup


@pytest.fixture(scope="module")
def obedient() -> Iterator[WorkerScorer]:
    with scorer(workers=2, max_infra_frac=0.5) as shared:
        yield shared


def test_every_completion_gets_its_own_score_and_groups_come_sorted_by_slot(
    obedient: WorkerScorer,
) -> None:
    slots = list(range(40))
    random.Random(0).shuffle(slots)
    groups = [
        group(*(f"score {(slot * 8 + i) / 320}" for i in range(8)), slot=slot) for slot in slots
    ]
    scored = obedient.score(groups)
    assert [scored_group.slot for scored_group, _ in scored] == list(range(40))
    values = [score.value for _, scores in scored for score in scores]
    assert values == [i / 320 for i in range(320)]


def test_completions_are_handed_out_in_the_order_in_which_they_came() -> None:
    with scorer(workers=1) as alone:
        scored = alone.score([group("count", "count", slot=1), group("count", "count", slot=0)])
    counts = [score.parts["count"] for _, scores in scored for score in scores]
    assert counts == [3, 4, 1, 2]


def test_the_first_group_is_scored_while_the_second_is_still_sampled(
    obedient: WorkerScorer, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    def sampled() -> Iterator[RolloutGroup]:
        yield group(f"tell {fifo}", slot=0)
        assert select.select([reader], [], [], 10)[0], "the first group was not scored meanwhile"
        yield group("score 0.5", slot=1)

    scored = obedient.score(sampled())
    os.close(reader)
    assert [scores[0].value for _, scores in scored] == [1.0, 0.5]


def test_parts_and_outcomes_of_the_reward_arrive(obedient: WorkerScorer) -> None:
    parts, unparseable = scores_of(obedient, "parts 0.5", "unparseable -1")
    assert (parts.value, parts.parts, parts.outcome) == (0.5, {"half": 0.25}, "ok")
    assert (unparseable.value, unparseable.outcome) == (-1.0, "unparseable")
    assert parts.seconds > 0


def test_no_groups_give_no_scores(obedient: WorkerScorer) -> None:
    assert obedient.score([]) == []


@pytest.mark.parametrize(
    ("completion", "message"),
    [
        ("score 1.5", r"returned 1\.5; its bounds are \(-1\.0, 1\.0\)"),
        ("score nan", "returned nan"),
        ("text high", "returned 'high'"),
        ("unparseable 0.5", "outcome unparseable with value 0.5"),
    ],
)
def test_a_value_that_breaks_the_contract_stops_the_run(
    obedient: WorkerScorer, completion: str, message: str
) -> None:
    with pytest.raises(PluginError, match=rf"Obedient on problem pool/problem-0: {message}"):
        scores_of(obedient, completion)


def test_a_data_error_stops_the_run_and_names_the_problem(obedient: WorkerScorer) -> None:
    with pytest.raises(DataError, match=r"pool/problem-0: .*Obedient says: no gold"):
        scores_of(obedient, "score 1", "data no gold")


def test_an_exception_scores_the_floor_until_too_many_stop_the_run(obedient: WorkerScorer) -> None:
    raised, polite, *good = scores_of(obedient, "raise x", "exit_politely", *["score 1"] * 2)
    assert (raised.value, raised.outcome, polite.outcome) == (-1.0, "crash", "crash")
    assert [score.value for score in good] == [1.0, 1.0]
    with pytest.raises(TrainingStopped, match=r"2 of .* 3 .*problem pool/problem-0: KeyError: 'x'"):
        scores_of(obedient, "raise x", "raise y", "score 1")


def test_an_engine_that_fails_halfway_leaves_nothing_for_the_next_step(
    obedient: WorkerScorer,
) -> None:
    def failing() -> Iterator[RolloutGroup]:
        yield group("score 0.1", "score 0.2", slot=0)
        raise OSError("the engine is gone")

    with pytest.raises(OSError, match="the engine is gone"):
        obedient.score(failing())
    assert [score.value for score in scores_of(obedient, "score 0.9")] == [0.9]


def test_workers_import_no_torch_and_stay_warm(obedient: WorkerScorer) -> None:
    (imported,) = scores_of(obedient, "imported torch")
    assert imported.value == 0.0
    pids = {scores_of(obedient, "pid")[0].parts["pid"] for _ in range(5)}
    assert len(pids) <= 2


def test_workers_do_not_see_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in [("HF_TOKEN", "s3-a"), ("my_api_key", "s3-b"), ("DB_PASSWORD", "s3-c")]:
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HARMLESS", "visible")
    with scorer() as fresh:
        values = scores_of(fresh, *(f"secrets {v}" for v in ("s3-a", "s3-b", "s3-c", "visible")))
    assert [score.value for score in values] == [0.0, 0.0, 0.0, 1.0]


def test_random_rewards_depend_on_seed_and_place_but_not_on_the_worker() -> None:
    def draw(seed: int, workers: int) -> list[float]:
        with scorer(seed=seed, workers=workers) as fresh:
            return [score.value for score in scores_of(fresh, *["random"] * 6)]

    first = draw(seed=1, workers=1)
    assert len(set(first)) == 6
    assert draw(seed=1, workers=2) == first
    assert draw(seed=2, workers=1) != first


def test_check_reports_bounds_and_needs_of_each_pool_without_starting_a_worker() -> None:
    rewards = {
        "plain": PluginConfig(use="fixture_rewards:Obedient"),
        "needy": PluginConfig.model_validate({"use": "fixture_rewards:NeedsAnswer", "scale": 2}),
    }
    checked = WorkerScorer(rewards, ScoringSection(), seed=0)
    checked.check()
    assert checked.bounds == {"plain": (-1.0, 1.0), "needy": (0.0, 2.0)}
    assert checked.needs_answer == {"plain": False, "needy": True}


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("fixture_rewards:NoBounds", "a reward needs bounds"),
        ("fixture_rewards:UpsideDown", r"bounds = \(1.0, 0.0\); .* lowest first"),
        ("fixture_rewards:Obedeint", "did you mean 'Obedient'"),
    ],
)
def test_check_refuses_a_bad_reward_and_names_its_pool(use: str, message: str) -> None:
    with pytest.raises(PluginError, match=rf"reward of pool pool.*{message}"):
        scorer(use).check()


def test_pools_with_different_rewards_mix_and_a_file_is_a_reward_too(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "class Long:\n"
        "    bounds = (0.0, 100.0)\n"
        "    def __call__(self, problem, completion):\n"
        "        return len(completion)\n"
    )
    rewards = {
        "mine": PluginConfig(use=f"{mine}:Long"),
        "needy": PluginConfig.model_validate({"use": "fixture_rewards:NeedsAnswer", "scale": 2}),
    }
    with WorkerScorer(rewards, ScoringSection(), seed=0) as mixed:
        groups = [group("1", slot=0, pool="needy"), group("12345", slot=1, pool="mine")]
        assert [scores[0].value for _, scores in mixed.score(groups)] == [2.0, 5.0]
        with pytest.raises(PluginError, match="no reward for pool 'other'"):
            mixed.score([group("1", pool="other")])


def test_a_reward_that_cannot_live_in_a_worker_is_an_error_not_a_hang() -> None:
    dying = PluginConfig.model_validate(
        {"use": "fixture_rewards:DiesInWorkers", "driver": os.getpid()}
    )
    with (
        WorkerScorer({"pool": dying}, ScoringSection(), seed=0) as broken,
        pytest.raises(PluginError, match=r"cannot start: .*exit status 7"),
    ):
        scores_of(broken, "score 1")
