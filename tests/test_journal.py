"""The journal gives back exactly what was committed, or says that it has nothing."""

import logging
import math
import struct
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlreason import faults
from rlreason.atomic import clean_leftovers
from rlreason.errors import DataError, TrainingStopped
from rlreason.journal import FILE, Journal
from rlreason.types import Baseline, Problem, Rollout, RolloutGroup, Score, ScoredGroup

TEXT = st.text(max_size=12)
NAME = st.text(min_size=1, max_size=6)
NUMBER = st.floats(allow_nan=False, width=64)
TOKENS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
CHAT = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": TEXT}),
    min_size=1,
    max_size=3,
).map(tuple)


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    completion_ids = draw(TOKENS)
    size = len(completion_ids)
    return Rollout(
        prompt_ids=draw(TOKENS),
        completion_ids=completion_ids,
        completion=draw(TEXT),
        rollout_logprobs=tuple(draw(st.lists(NUMBER, min_size=size, max_size=size))),
        finish_reason=draw(st.sampled_from(["stop", "length"])),
        policy_version=draw(st.integers(0, 2**40)),
    )


@st.composite
def scored_groups(draw: st.DrawFn) -> ScoredGroup:
    problem = Problem(
        id=draw(NAME),
        pool=draw(NAME),
        prompt=draw(NAME | CHAT),
        answer=draw(st.none() | TEXT),
        metadata=draw(st.dictionaries(TEXT, JSON, max_size=3)),
    )
    samples = tuple(draw(st.lists(rollouts(), min_size=1, max_size=3)))
    score = st.builds(
        Score,
        value=NUMBER,
        parts=st.dictionaries(TEXT, NUMBER, max_size=2),
        outcome=st.sampled_from(["ok", "unparseable", "over_limit", "timeout", "crash", "infra"]),
        seconds=NUMBER,
    )
    kl = draw(st.none() | st.just(tuple(draw(NUMBER) for _ in samples)))
    return ScoredGroup(
        # Slots may repeat here: a slot does not say where a group begins.
        group=RolloutGroup(problem=problem, slot=draw(st.integers(0, 3)), rollouts=samples),
        scores=tuple(draw(score) for _ in samples),
        advantages=tuple(draw(NUMBER) for _ in samples),
        baseline=draw(st.none() | st.builds(Baseline, rollout=rollouts(), score=score)),
        reference_kl=kl,
    )


def group_of(
    *, problem: Problem | None = None, size: int = 2, logprob: float = -0.5
) -> ScoredGroup:
    rollout = Rollout(
        prompt_ids=(1, 2),
        completion_ids=(3, 4),
        completion="4",
        rollout_logprobs=(logprob, -1.5),
        finish_reason="stop",
        policy_version=7,
    )
    return ScoredGroup(
        group=RolloutGroup(
            problem=problem or Problem(id="2+2", pool="add", prompt="2+2=", answer="4"),
            slot=0,
            rollouts=(rollout,) * size,
        ),
        scores=(Score(value=1.0, parts={"format": 0.5}),) * size,
        advantages=(0.25,) * size,
    )


def commit(journal: Journal, *steps: int) -> None:
    for step in steps:
        journal.commit(step, weights={"add": 1.0}, scored=[group_of()], policy_version=step)


@given(
    scored=st.lists(scored_groups(), max_size=4),
    weights=st.dictionaries(NAME, NUMBER, max_size=3),
    step=st.integers(0, 10**7),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_what_is_read_equals_what_was_committed(
    scored: list[ScoredGroup], weights: dict[str, float], step: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        journal.commit(step, weights=weights, scored=scored, policy_version=step + 1)
        entry = journal.read(step)
        assert entry is not None
        assert entry.scored == tuple(scored)
        assert list(entry.weights.items()) == list(weights.items())
        assert (entry.step, entry.policy_version) == (step, step + 1)
        assert journal.last_step() == step


@pytest.mark.parametrize("number", [-0.0, 0.1 + 0.2, 5e-324, math.inf, math.nan, -1 / 3])
def test_numbers_come_back_to_the_bit(tmp_path: Path, number: float) -> None:
    group = group_of(logprob=number)
    score = Score(value=number, parts={"part": number}, seconds=number)
    group = ScoredGroup(group=group.group, scores=(score,) * 2, advantages=(number,) * 2)
    Journal(tmp_path).commit(0, weights={"add": number}, scored=[group], policy_version=0)
    entry = Journal(tmp_path).read(0)
    assert entry is not None
    [back] = entry.scored
    found = [
        back.group.rollouts[0].rollout_logprobs[0],
        back.advantages[0],
        back.scores[0].value,
        back.scores[0].seconds,
        back.scores[0].parts["part"],
        entry.weights["add"],
    ]
    assert {struct.pack("<d", one) for one in found} == {struct.pack("<d", number)}


def test_any_parquet_tool_reads_the_columns(tmp_path: Path) -> None:
    chat = Problem(id="c", pool="add", prompt=({"role": "user", "content": "2+2="},))
    scored = [group_of(), group_of(problem=chat, size=3)]
    Journal(tmp_path).commit(12, weights={"add": 1.0}, scored=scored, policy_version=7)
    table = pq.read_table(tmp_path / "000012" / FILE)
    assert table.num_rows == 5
    assert table["step"].to_pylist() == [12] * 5
    assert table["sample"].to_pylist() == [0, 1, 0, 1, 2]
    assert table["answer"].to_pylist() == ["4", "4", None, None, None]
    assert table["prompt"].to_pylist()[1:3] == ['"2+2="', '[{"role": "user", "content": "2+2="}]']
    assert table["completion_ids"].to_pylist() == [[3, 4]] * 5
    assert table.schema.metadata == {
        b"rlreason": b'{"step": 12, "policy_version": 7, "weights": {"add": 1.0}}'
    }
    codec = pq.ParquetFile(tmp_path / "000012" / FILE).metadata.row_group(0).column(0).compression
    assert codec == "ZSTD"


def test_a_step_that_was_not_committed_is_absent(tmp_path: Path) -> None:
    assert Journal(tmp_path / "steps").read(0) is None
    assert Journal(tmp_path / "steps").last_step() is None


def test_a_damaged_entry_counts_as_absent_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    commit(journal, 0, 1, 2)
    data = (tmp_path / "000002" / FILE).read_bytes()
    (tmp_path / "000002" / FILE).write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with caplog.at_level(logging.WARNING):
        assert journal.read(2) is None
    assert "000002 counts as absent" in caplog.text
    assert "SHA-256" in caplog.text
    assert journal.last_step() == 1
    commit(journal, 2)  # sampled again
    assert journal.read(2) is not None
    assert journal.last_step() == 2


def test_an_entry_under_the_wrong_number_counts_as_absent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    commit(journal, 3)
    (tmp_path / "000003").rename(tmp_path / "000004")
    assert journal.read(4) is None
    assert "it says that it is step 3" in caplog.text


def test_entries_behind_a_step_can_be_discarded(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    commit(journal, 0, 1, 2, 3)
    assert journal.discard_from(2) == [2, 3]
    assert journal.discard_from(2) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["000000", "000001"]


def test_a_fault_before_the_rename_leaves_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults._plan.cache_clear()
    monkeypatch.setenv(faults.VARIABLE, "journal:1:raise")
    journal = Journal(tmp_path)
    with pytest.raises(faults.InjectedError):
        commit(journal, 0, 1)
    faults._plan.cache_clear()
    assert journal.last_step() == 0
    assert clean_leftovers(tmp_path) == []


def test_a_full_disk_stops_the_run_before_it_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rlreason.journal.pq.write_table", full)
    with pytest.raises(TrainingStopped, match=r"step 5: the disk of .* is full"):
        commit(Journal(tmp_path), 5)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "problem",
    [
        Problem(id="set", pool="add", prompt="p", metadata={"values": {1, 2}}),
        Problem(id="\ud800", pool="add", prompt="p"),
        Problem(id="half", pool="add", prompt="p", answer="\udfff"),
    ],
)
def test_what_cannot_be_written_names_the_problem(tmp_path: Path, problem: Problem) -> None:
    with pytest.raises(DataError, match=r"problem '?add/"):
        Journal(tmp_path).commit(
            0, weights={}, scored=[group_of(problem=problem)], policy_version=0
        )
    assert not any(tmp_path.iterdir())
