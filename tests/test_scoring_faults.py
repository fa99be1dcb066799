"""WorkerScorer on completions that hang, crash, eat memory, fork, or take the scorer down."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from scoring_groups import ends, group, scorer, scores_of

from rlreason.errors import TrainingStopped

BOMBS = {
    "hang": "timeout",
    "hold_the_interpreter_lock": "timeout",
    "eat 10": "over_limit",
    "recurse": "over_limit",
    "exit": "crash",
    "exit_politely": "crash",
    "segfault": "crash",
    "kill_self": "crash",
    "raise x": "crash",
}


@pytest.mark.parametrize(("bomb", "outcome"), BOMBS.items())
def test_a_bomb_scores_the_floor_and_harms_no_neighbour(bomb: str, outcome: str) -> None:
    with scorer(time_limit_s=1.0, max_infra_frac=1.0) as one_worker:
        scores_of(one_worker, "score 0")
        start = time.monotonic()
        before, exploded, after = scores_of(one_worker, "score 0.5", bomb, "score 0.75")
        assert time.monotonic() - start < 1.0 + 2.0
    assert (exploded.value, exploded.outcome) == (-1.0, outcome)
    assert [(good.value, good.outcome) for good in (before, after)] == [(0.5, "ok"), (0.75, "ok")]


def test_a_thousand_mixed_completions_keep_their_order() -> None:
    chance = random.Random(0)
    bombs = chance.choices(["hang", "exit", "segfault", "raise x", "eat 10", "kill_self"], k=60)
    completions = [f"score {i / 1000}" for i in range(940)] + bombs
    chance.shuffle(completions)
    groups = [group(*completions[i : i + 8], slot=i) for i in range(0, 1000, 8)]
    with scorer(workers=2, time_limit_s=1.0) as pair:
        scored = pair.score(groups)
    scores = [score for _, of_group in scored for score in of_group]
    for completion, score in zip(completions, scores, strict=True):
        good = completion.startswith("score")
        expected = (float(completion.split()[1]), "ok") if good else (-1.0, BOMBS[completion])
        assert (score.value, score.outcome) == expected, completion
    assert Counter(score.outcome for score in scores)["ok"] == 940


def test_a_good_completion_behind_more_bombs_than_workers_waits_for_one_limit_only(
    tmp_path: Path,
) -> None:
    begun = [tmp_path / "one", tmp_path / "two"]
    bombs = [f"tell_time_then_hang {path}" for path in begun]
    with scorer(workers=2, time_limit_s=1.0) as pair:
        while len({score.parts["pid"] for score in scores_of(pair, *["pid"] * 8)}) < 2:
            pass  # until both have started
        start = time.monotonic()
        scores = scores_of(pair, *bombs, "score 0.5", "score 0.25")
        assert time.monotonic() - start < 1.0 + 2.0
    first, second = sorted(float(path.read_text()) for path in begun)
    assert second - first < 1.0  # at once: what is behind them waits for one limit
    assert [score.outcome for score in scores] == ["timeout", "timeout", "ok", "ok"]


def test_the_limit_counts_from_dispatch_not_from_submission() -> None:
    with scorer(workers=1, time_limit_s=0.5) as alone:
        *hung, good = scores_of(alone, "hang", "hang", "hang", "score 1")
    assert all(0.5 <= score.seconds < 1.0 for score in hung)
    assert good.outcome == "ok"


@pytest.mark.parametrize(
    ("command", "outcome"),
    [("fork_then_exit", "crash"), ("fork_a_daemon_then_hang", "timeout"), ("detach", "ok")],
)
def test_what_a_reward_forked_ends_when_its_worker_is_replaced(
    command: str, outcome: str, tmp_path: Path
) -> None:
    with scorer(time_limit_s=0.5) as alone:
        forked, good = scores_of(alone, f"{command} {tmp_path / 'pid'}", "score 1")
        assert (forked.outcome, good.outcome) == (outcome, "ok")
        assert ends(int((tmp_path / "pid").read_text()))


def test_a_child_that_comes_back_from_the_reward_answers_nothing() -> None:
    with scorer() as alone:
        scores = scores_of(alone, "return_twice", *(f"score {i / 10}" for i in range(10)))
    assert [score.value for score in scores] == [1.0, *(i / 10 for i in range(10))]


def test_an_alarm_left_behind_does_not_hit_the_next_completion() -> None:
    with scorer() as alone:
        scores = scores_of(alone, "leave_an_alarm", "busy 0.1")
    assert [score.outcome for score in scores] == ["ok", "ok"]


def test_a_reward_that_hoards_memory_gets_a_new_worker() -> None:
    with scorer() as alone:
        before, hoarded, after, eaten = scores_of(alone, "pid", "hoard 0.6", "pid", "eat 0.4")
    assert (hoarded.outcome, eaten.outcome) == ("ok", "ok")
    assert before.parts["pid"] != after.parts["pid"]


def test_a_worker_killed_from_outside_gets_one_more_try(tmp_path: Path) -> None:
    with scorer() as alone:
        (score,) = scores_of(alone, f"killed_once {tmp_path / 'marker'}")
    assert (score.value, score.outcome) == (1.0, "ok")


def test_close_leaves_no_process(tmp_path: Path) -> None:
    with scorer(workers=2) as pair:
        scores = scores_of(pair, "pid", "pid", f"fork {tmp_path / 'pid'}")
    pids = [int(score.parts["pid"]) for score in scores[:2]]
    assert all(ends(pid) for pid in [*pids, int((tmp_path / "pid").read_text())])


def test_a_step_is_scored_again_when_its_supervisor_is_killed() -> None:
    with scorer() as alone:
        worker = int(scores_of(alone, "pid")[0].parts["pid"])
        os.kill(_parent(worker), signal.SIGKILL)
        assert [score.value for score in scores_of(alone, "score 0.5", "score 0.25")] == [0.5, 0.25]
        assert ends(worker)


def test_a_scorer_that_keeps_dying_is_infra_and_too_much_of_it_stops_the_run(
    tmp_path: Path,
) -> None:
    pid_file = tmp_path / "pid"
    with scorer(max_infra_frac=1.0) as lenient:
        (score,) = scores_of(lenient, f"kill_the_supervisor {pid_file}")
        assert score.outcome == "infra"
        assert ends(int(pid_file.read_text())), "a hanging worker outlived its supervisor"
        assert scores_of(lenient, "score 0.5")[0].value == 0.5
    with scorer() as strict, pytest.raises(TrainingStopped, match="the scoring supervisor died"):
        scores_of(strict, f"kill_the_supervisor {pid_file}")


def test_a_killed_driver_leaves_no_worker_though_its_child_holds_the_pipe(tmp_path: Path) -> None:
    fifo, child_pid = tmp_path / "pid", tmp_path / "child"
    os.mkfifo(fifo)
    program = f"""
import os, signal
from pathlib import Path
from scoring_groups import scorer, scores_of
with scorer() as alone:
    alone.start()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        signal.pause()
    Path({str(child_pid)!r}).write_text(str(child))
    scores_of(alone, {f"tell_pid_then_hang {fifo}"!r})
"""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    environment = os.environ | {"PYTHONPATH": path}
    driver = subprocess.Popen([sys.executable, "-c", program], env=environment)
    worker = int(fifo.read_text())  # waits until the reward writes
    supervisor = _parent(worker)
    driver.kill()
    driver.wait()
    assert supervisor != driver.pid
    assert ends(worker)
    assert ends(supervisor)
    os.kill(int(child_pid.read_text()), signal.SIGKILL)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
